"""What a person reads in the terminal: the verdict table, and what to do next."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tidegate.flows.check_only import Seen
from tidegate.flows.one_update import UpdateResult
from tidegate.gates.types import Action, Decision, Outcome

COLOURS = {
    Outcome.PASS: "green",
    Outcome.FAIL: "red",
    Outcome.INCONCLUSIVE: "yellow",
    Outcome.MISSING: "magenta",
    Outcome.ERROR: "magenta",
}
WORDS = {
    Action.PROMOTE: "[bold green]PROMOTED[/]",
    Action.HOLD: "[bold yellow]HELD for a person[/]",
    Action.REJECT: "[bold red]REJECTED[/]",
}

CHECKED = {
    Action.PROMOTE: "[bold green]FIT TO LEARN FROM[/]",
    Action.HOLD: "[bold yellow]HELD for a person[/]",
    Action.REJECT: "[bold red]REFUSED[/]",
}


def verdict_table(decision: Decision) -> Table:
    """One row a gate; what stood in the way comes first."""
    table = Table(box=None, pad_edge=False, show_edge=False, header_style="dim")
    for column in ("verdict", "gate", "what was seen"):
        table.add_column(column, overflow="fold")
    ranked = sorted(decision.rulings, key=lambda r: r.verdict.outcome is Outcome.PASS)
    for ruling in ranked:
        colour = COLOURS[ruling.verdict.outcome]
        outcome = f"[{colour}]{ruling.verdict.outcome.upper()}[/]"
        table.add_row(outcome, escape(ruling.title), escape(ruling.verdict.reason))
    return table


def show_result(console: Console, result: UpdateResult) -> None:
    """The verdict, its reasons, and where to look."""
    console.print()
    console.print(verdict_table(result.decision))
    console.print()
    word = WORDS[result.decision.action]
    again = " [dim](decided before; nothing was done again)[/]" if result.repeated else ""
    console.print(f"{word}  {escape(result.model)} version {result.version}{again}")
    console.print(f"  report     {result.report}", soft_wrap=True, highlight=False)
    console.print(f"  statement  {result.statement}", soft_wrap=True, highlight=False)
    console.print(f"  review     {ui_command(result.model, result.version)}", highlight=False)
    for drop in result.modules:
        said = f"  module     {drop.records:,} records, which nothing trains: {escape(drop.command)}"
        console.print(said, soft_wrap=True, highlight=False)


def ui_command(model: str, version: str) -> str:
    return f"tidegate ui --model {model} --version {version}"


def show_check(console: Console, seen: Seen) -> None:
    """What a check of drops came to."""
    batch = seen.batch
    console.print()
    console.print(verdict_table(seen.decision))
    console.print()
    console.print(
        f"{CHECKED[seen.decision.action]}  {batch.rows:,} records of {batch.read:,} rows "
        f"({batch.unreadable:,} unreadable, {batch.without_consent:,} without consent, "
        f"{batch.duplicates:,} duplicates), {seen.checked.quarantined:,} quarantined"
    )
    for note in seen.checked.notes:
        console.print(f"  note       {escape(note)}", soft_wrap=True, highlight=False)
    console.print(f"  report     {seen.out / 'index.html'}", soft_wrap=True, highlight=False)
    console.print(f"  batch      {batch.digest}", soft_wrap=True, highlight=False)
