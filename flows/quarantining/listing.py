"""List: what the quarantine holds, by batch and gate. Numbers only, never text."""

from collections import Counter
from datetime import UTC, datetime

from pydantic import AwareDatetime
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tidegate.flows.checking import quarantine
from tidegate.flows.checking.quarantine_keys import BrokenQuarantine
from tidegate.flows.home import Home
from tidegate.gates.types import Noun

DAY = 24 * 3600


class Held(Noun):
    """What is quarantined of one batch. A record may be in several gates' counts."""

    batch: str
    records: int
    gates: dict[str, int]
    oldest: AwareDatetime | None
    newest: AwareDatetime | None
    oldest_days: float | None
    broken: str = ""  # why it cannot be read


def list_held(home: Home, now: datetime) -> tuple[Held, ...]:
    """One entry a batch that something was quarantined of, by digest."""
    found = []
    for batch in quarantine.batches(home):
        try:
            held = _held(home, batch, now)
        except BrokenQuarantine as no:
            held = Held(
                batch=batch, records=0, gates={}, oldest=None, newest=None, oldest_days=None,
                broken=str(no),
            )  # fmt: skip
        if held.records or held.broken:
            found.append(held)
    return tuple(found)


def show_held(console: Console, held: tuple[Held, ...]) -> None:
    if not held:
        console.print("nothing is quarantined here")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("batch", "records", "gates", "oldest"):
        table.add_column(column, overflow="fold")
    for one in held:
        gates = ", ".join(f"{gate} {count:,}" for gate, count in one.gates.items())
        age = "–" if one.oldest_days is None else f"{one.oldest_days:.1f} days"
        table.add_row(one.batch, f"{one.records:,}", escape(gates), age)
    console.print(table)
    for one in held:
        if one.broken:
            console.print(f"✗ {escape(one.broken)}", highlight=False, soft_wrap=True)


def _held(home: Home, batch: str, now: datetime) -> Held:
    records, gates, times = 0, Counter[str](), list[datetime]()
    for table in quarantine.read(home, batch, columns=["id", "gates", "since"]):
        records += table.num_rows
        for named in table["gates"].to_pylist():
            gates.update(set(named))
        since = [when.astimezone(UTC) for when in table["since"].to_pylist()]
        times = [min([*times[:1], *since]), max([*times[1:], *since])] if since else times
    oldest, newest = times or (None, None)
    return Held(
        batch=batch,
        records=records,
        gates=dict(sorted(gates.items())),
        oldest=oldest,
        newest=newest,
        oldest_days=None if oldest is None else (now - oldest).total_seconds() / DAY,
    )
