"""Whether it is time for an update: enough new rows, too long since the last one, or drift.

A row is new if no decided update of the model line had its id in its batch. Whether the update
promoted it or refused it does not matter: what was judged once does not wake anybody again.
Rows that an update could not learn from (unreadable, without consent) do not count.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq

from tidegate.flows.drifting.drift import Drift, drift_of
from tidegate.flows.home import Home
from tidegate.flows.ingest import NO_DEFAULTS, consenting_records
from tidegate.flows.intake.batches import RECORDS
from tidegate.flows.ledger import Ledger
from tidegate.flows.locks import is_held
from tidegate.flows.looking_back.history import Entry, entry_of
from tidegate.flows.usage import UsageError
from tidegate.gates.types import Noun

DAY = 86_400.0  # seconds


class Waking(Noun):
    """Whether an update is due, why, and the two numbers that were compared."""

    due: bool
    reason: str
    new_rows: int
    since: float | None  # seconds since the last update was decided; None: there was none
    last: str | None  # the statement about it
    drift: Drift | None = None  # None: nobody asked

    @property
    def exit_code(self) -> int:
        """0 due, 2 not due."""
        return 0 if self.due else 2


def wake(
    new_rows: int,
    since: float | None,
    *,
    rows: int,
    age: float,
    last: str | None = None,
    drift: Drift | None = None,
) -> Waking:
    """Enough new rows, or too long a time or drift and at least one.

    new_rows: never seen before by an update. since: seconds since the last one; None if there
    was none, and then only rows count. rows: enough. age: seconds that are too long.
    Raises UsageError for limits that would always, or never, wake.
    """
    if rows < 1 or not 0 < age < float("inf"):
        raise UsageError(
            f"rows {rows}, age {age} s: rows must be 1 or more, and age longer than nothing"
        )
    found = f"{new_rows} new rows of {rows}"
    waited = "no update yet" if since is None else f"last update {since / DAY:.1f} days ago"
    if new_rows >= rows:
        due, why = True, "enough new rows"
    elif new_rows == 0:
        due, why = False, "nothing new to learn"
    elif since is not None and since >= age:
        due, why = True, f"too long since the last update (limit {age / DAY:.1f} days)"
    elif drift is not None and drift.drifted:
        due, why = True, drift.reason
    else:
        due, why = False, "too few new rows, and not too long yet"
    return Waking(
        due=due,
        reason=f"{why}: {found}, {waited}",
        new_rows=new_rows,
        since=since,
        last=last,
        drift=drift,
    )


def look(
    drops: Sequence[str | Path],
    home: Home,
    model: str,
    *,
    rows: int,
    age: float,
    now: datetime | None = None,
    defaults: Mapping[str, object] = NO_DEFAULTS,
    drifting: bool = False,
) -> Waking:
    """Look into the drops and the ledger, and write nothing.

    drifting: what has arrived is also compared with what the champion learned.

    Every row is read; memory holds the ids of the drops and of the batches before them. A
    batch that was removed since is unknown, so its rows count as new. An update of this line
    that runs on this machine at the moment is a reason to wait.
    Raises IngestError as an update would, BrokenLedger, and UsageError for a bad limit.
    """
    now = now or datetime.now(UTC)
    decided = _decided(home, model)
    last = decided[-1] if decided else None
    since = None if last is None else (now - last.decided_at).total_seconds()
    arrived = {record.id for record in consenting_records(drops, home, now, defaults)}
    waiting = arrived - _known(home, decided)
    found = wake(
        len(waiting),
        since,
        rows=rows,
        age=age,
        last=last.statement if last else None,
        drift=drift_of(drops, home, model, now, defaults) if drifting else None,
    )
    if found.due and is_held(home, model):
        said = f"an update of {model!r} is running; {found.reason}"
        return found.model_copy(update={"due": False, "reason": said})
    return found


def _decided(home: Home, model: str) -> list[Entry]:
    """The updates of the line, oldest first; a decision that was only taken again is none."""
    entries = []
    for digest, record in Ledger(home.ledger).read():
        said = record["predicate"]
        ours = said["act"] == "decide" and said["model"] == model
        if ours and "supersedes" not in said["about"]:
            entries.append(entry_of(digest, record))
    return entries


def _known(home: Home, decided: Sequence[Entry]) -> set[str]:
    known: set[str] = set()
    for batch in {entry.subject("batch") for entry in decided} - {None}:
        path = home.batch(str(batch)) / RECORDS
        if path.exists():
            known.update(pq.read_table(path, columns=["id"])["id"].to_pylist())
    return known
