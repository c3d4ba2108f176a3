"""An answer on a terminal: line by line, and which model gave it."""

from rich.console import Console
from rich.markup import escape

from tidegate.flows.asking.ask import Answer
from tidegate.flows.reviewing.wording import clean, printable, short


def show_answer(console: Console, said: Answer) -> None:
    """What does not print, or turns text around, does not reach the terminal."""
    console.print()
    for line in said.answer.splitlines() or ["(the model said nothing)"]:
        console.print(escape(printable(line)), highlight=False, soft_wrap=True)
    if not said.ended:
        console.print(f"[dim]cut after {said.tokens:,} tokens; --tokens gives it more[/]")
    console.print()
    adapter = short(said.adapter) if said.adapter else "none"
    rows = {"model": f"{said.model} version {said.version} ({said.alias}), adapter {adapter}"}
    if said.context_tokens:
        rows["context"] = (
            f"{said.context_tokens:,} tokens, of which {said.context_shown:,} in the prompt"
        )
    if said.test_time is not None:
        seen = said.test_time.learned
        rows["learned"] = (
            f"by a throw-away adapter, {said.test_time.label}: {seen.steps} steps, "
            f"{seen.first_pass:.3f} nats a token in the first pass, {seen.last_pass:.3f} in the "
            "last. It passed no gate and is gone"
        )
    rows["statement"] = said.statement
    for name, value in rows.items():
        console.print(f"  {name:<11}{escape(clean(value))}", highlight=False, soft_wrap=True)
