"""The context store on a terminal: counts for `list`, entries for `query`."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import get_args

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tidegate.flows.context.store import Hit, Why, entries
from tidegate.flows.home import Home
from tidegate.gates.types import Noun


class Count(Noun):
    """The entries of one batch."""

    batch: str
    entries: int
    dated: int
    volatile: int
    later: int
    masked: int
    one_off: int
    source: int
    expired: int


def counts(home: Home, now: datetime) -> list[Count]:
    """One count a batch. Raises UsageError for a store that was damaged."""
    stored = entries(home)
    of = Counter(batch for batch, _ in stored)
    why = Counter((batch, entry.why) for batch, entry in stored)
    return [
        Count(
            batch=batch,
            entries=n,
            dated=why[batch, "dated"],
            volatile=why[batch, "volatile"],
            later=why[batch, "later"],
            masked=why[batch, "masked"],
            one_off=why[batch, "one_off"],
            source=why[batch, "source"],
            expired=sum(
                b == batch and e.valid_until is not None and e.valid_until <= now
                for b, e in stored
            ),
        )
        for batch, n in of.items()
    ]


def show_counts(console: Console, found: Sequence[Count]) -> None:
    if not found:
        console.print("nothing is stored: no update sent records here")
        return
    table = Table(box=None, pad_edge=False, show_edge=False, header_style="dim")
    whys = get_args(Why)
    for column in ("batch", "entries", *whys, "expired"):
        table.add_column(column, justify="left" if column == "batch" else "right")
    for one in found:
        numbers = (one.entries, *(getattr(one, why) for why in whys), one.expired)
        table.add_row(one.batch[:16], *map(str, numbers))
    console.print(table)


def show_hits(console: Console, hits: Sequence[Hit]) -> None:
    if not hits:
        console.print("no valid entry shares a word with the question")
    for hit in hits:
        entry = hit.entry
        until = f"until {entry.valid_until:%Y-%m-%d}" if entry.valid_until else entry.why
        because = f" [dim]({escape(entry.reason)})[/]" if entry.reason else ""
        console.print(f"[dim]{until}[/]  {escape(entry.question)}{because}", soft_wrap=True)
        console.print(f"  {escape(entry.answer)}", soft_wrap=True, highlight=False)
