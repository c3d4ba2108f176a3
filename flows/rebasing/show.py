"""What a rebase came to, in a few lines."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tidegate.flows.rebasing.rebase import RebaseResult
from tidegate.flows.rebasing.survival import Paired


def show_rebased(console: Console, done: RebaseResult) -> None:
    plan = done.plan
    for one in done.steps:
        why = f" ({escape(one.reason)})" if one.reason else ""
        rows = "" if one.same_rows else "; not the rows that were learned then"
        console.print(
            f"  version {one.of} → {escape(plan.to)} version {one.version}: {one.action}{why}{rows}",
            highlight=False,
        )
    if not done.complete:
        left = len(plan.steps) - len(done.steps)
        console.print(
            f"the chain stopped there, {left} updates were not tried; {escape(plan.to)} serves "
            f"version {done.now}. Run the same command again once it is approved or waived",
            highlight=False,
        )
    table = Table(box=None, pad_edge=False, show_edge=False, header_style="dim")
    for column in (
        "update", "", "gain then", "gain now", "right now - right then", "items",
    ):  # fmt: skip
        table.add_column(column, overflow="fold")
    for told in done.survived:
        table.add_row(
            told.of,
            told.outcome + (f": {escape(told.reason)}" if told.reason else ""),
            *(_interval(pair) for pair in (told.before, told.now, told.difference)),
            str(told.now.n) if told.now else "",
        )
    console.print(table)
    console.print(
        "gains: nats per token over the own bare base; all paired, with 95 % intervals",
        style="dim",
    )
    console.print(f"  statement  {done.statement}", highlight=False, soft_wrap=True)


def _interval(pair: Paired | None) -> str:
    if pair is None:
        return "–"
    low, high = ("∞" if end is None else f"{end:+.3f}" for end in (pair.low, pair.high))
    return f"{pair.mean:+.3f} ({low} to {high})"
