"""Show: one quarantined record. Its text only on request, and then the ledger says who looked."""

import uuid
from datetime import datetime

from rich.console import Console
from rich.markup import escape

from tidegate.flows.home import Home
from tidegate.flows.quarantining.acts import record_act, salted
from tidegate.flows.quarantining.finding import Quarantined, find_records, texts_of
from tidegate.flows.reviewing.wording import clean
from tidegate.gates.types import Noun

LONGEST = 20_000  # characters shown of one message


class Look(Noun):
    """The texts of a record, and the statement that says who saw them."""

    record: Quarantined
    statement: str
    texts: tuple[tuple[str, str], ...]


def show_record(home: Home, name: str, batch: str | None = None) -> Quarantined:
    """What is known of a record without its text. Raises NotQuarantined, BrokenQuarantine."""
    (record,) = find_records(home, [name], batch)
    return record


def look_at(home: Home, record: Quarantined, who: str, now: datetime) -> Look:
    """The text of a record. That `who` looked is in the ledger before it is handed out."""
    texts = texts_of(home, record)
    written = record_act(
        home,
        "look",
        f"look-{uuid.uuid4().hex[:20]}",  # each look is an act of its own
        {"batch": record.batch},
        {"by": who, "records": salted(home, record.batch, [record.id])},
        now,
    )
    return Look(record=record, statement=written, texts=tuple(texts))


def print_record(console: Console, record: Quarantined) -> None:
    for name, value in record.model_dump(mode="json").items():
        said = ", ".join(value) if isinstance(value, list) else str(value)
        console.print(f"  {name:<11}{escape(clean(said))}", highlight=False, soft_wrap=True)


def print_look(console: Console, look: Look) -> None:
    """Line by line: what does not print, or turns text around, does not reach the terminal."""
    for who, text in look.texts:
        console.print(f"[bold]{escape(clean(who))}[/]", highlight=False)
        for line in text[:LONGEST].splitlines():
            console.print(f"  {escape(clean(line, LONGEST))}", highlight=False, soft_wrap=True)
        if len(text) > LONGEST:
            console.print(f"  … {len(text) - LONGEST:,} characters more")
    console.print(f"  the ledger says that you looked: {look.statement}", soft_wrap=True)
