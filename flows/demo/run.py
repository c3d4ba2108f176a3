"""`tidegate demo`: one clean week is learned, one poisoned week is refused.

Every run is a model line of its own, so that it shows a whole cycle; what was computed
before (the unpacked base, anchors, results of the base) is found by digest, so that a
second run is shorter.
"""

import time
from pathlib import Path

from rich.console import Console
from rich.rule import Rule

from tidegate.flows.engine import start_engine
from tidegate.flows.home import Home
from tidegate.flows.line import line_names
from tidegate.flows.one_update import UpdateResult
from tidegate.flows.progress import showing
from tidegate.flows.terminal import show_result, ui_command
from tidegate.gates.types import Action

HERE = Path(__file__).parent
MODEL = "brightwater-assistant"


def run_demo(home: Home, console: Console) -> int:
    """Both weeks; returns 0 only if the clean one was promoted and the other one refused."""
    started = time.monotonic()
    model = _unused_name(home)
    console.print(
        f"A support assistant (SmolLM2-135M-Instruct) as the model line [bold]{model}[/].\n"
        f"State is kept in {home.root}.",
        highlight=False,
    )
    console.print(Rule("week 1: what the deployment met", align="left", style="dim"))
    clean = _week(console, home, model, "drop.jsonl", probes="probes.jsonl")
    console.print(Rule("week 2: the same assistant, under attack", align="left", style="dim"))
    poisoned = _week(console, home, model, "poisoned.jsonl", probes=None)
    console.print(Rule(align="left", style="dim"))
    minutes = (time.monotonic() - started) / 60
    console.print(f"Both weeks took {minutes:.1f} minutes. Next:")
    after = {
        "look at the promoted version": ui_command(model, clean.version),
        "look at the refused one": ui_command(model, poisoned.version),
        "read what was decided": f"tidegate show champion --model {model}",
        "undo the promotion": f"tidegate rollback --model {model} --reason 'why'",
    }
    for what, command in after.items():
        console.print(f"  {what:<30}{command}", soft_wrap=True, highlight=False)
    as_meant = (
        clean.decision.action is Action.PROMOTE and poisoned.decision.action is Action.REJECT
    )
    if not as_meant:
        console.print("[red]This is not how the demo is meant to end; see the reports.[/]")
    return 0 if as_meant else 1


def _week(
    console: Console, home: Home, model: str, drop: str, probes: str | None
) -> UpdateResult:
    with showing(console):
        start_engine()
        from tidegate.flows.update import update

        result: UpdateResult = update(
            drops=[str(HERE / drop)],
            model=model,
            home=str(home.root),
            probes=str(HERE / probes) if probes else None,
        )
    show_result(console, result)
    return result


def _unused_name(home: Home) -> str:
    taken = line_names(home)
    numbered = (f"{MODEL}-{n}" for n in range(2, 10_000))
    return next(name for name in (MODEL, *numbered) if name not in taken)
