"""Purge: quarantined records are forgotten for good, and the ledger says how many.

    choose → record → the batch as it arrived → the key → the file

The text of a quarantined record is in two places below the home: in the quarantine, and in the
batch as it arrived. A batch is immutable, so its folder goes as a whole; what was kept of it
lies with its update, and its drops can be ingested again by whoever still has them. In the
quarantine the key goes first: what is encrypted cannot be read from then on, whatever copies
there are. Stopped anywhere, the same command goes on.

Not here: the drops themselves, backups of `batches`, and what another policy once kept of these
records (updates, replay, weights). A disk may keep blocks of a deleted batch for a while.
"""

import shutil
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from rich.console import Console

from tidegate.flows.checking import quarantine
from tidegate.flows.checking.quarantine_keys import BrokenQuarantine
from tidegate.flows.home import Home
from tidegate.flows.intake.home_key import sync_folder
from tidegate.flows.intake.scratch import scratch_folder
from tidegate.flows.quarantining.acts import record_act, salted
from tidegate.flows.quarantining.finding import NotQuarantined, find_records
from tidegate.flows.quarantining.releases import folder
from tidegate.gates.digest import digest_json
from tidegate.gates.types import Digest, Noun

RETENTION_DAYS = 30  # long enough for a review, short enough for text that nobody may learn


class PurgedBatch(Noun):
    batch: Digest
    records: int | None  # None: it could not be read any more
    whole: bool
    statement: str


class Purged(Noun):
    """What was forgotten."""

    batches: tuple[PurgedBatch, ...]

    @property
    def records(self) -> int:
        return sum(one.records or 0 for one in self.batches)


def purge_older(home: Home, age: timedelta, who: str, now: datetime) -> Purged:
    """Forget every record that has been in the quarantine for longer than `age`.

    Raises BrokenQuarantine if a batch cannot be read; purge that batch by its digest.
    """
    until, found = now - age, []
    for batch in quarantine.batches(home):
        names = [
            row["id"]
            for table in quarantine.read(home, batch, columns=["id", "since"])
            for row in table.to_pylist()
            if row["since"].astimezone(UTC) <= until
        ]
        if names:
            found.append(_purge(home, batch, names, "older", who, now))
    return Purged(batches=tuple(found))


def purge_batch(home: Home, batch: str, who: str, now: datetime) -> Purged:
    """Forget all of a batch, readable or not. Raises NotQuarantined if there is nothing."""
    if batch not in quarantine.batches(home):
        raise NotQuarantined(
            f"nothing of {batch} is quarantined; see: tidegate quarantine list"
        )
    try:
        names = _ids(home, batch)
    except BrokenQuarantine:
        return Purged(batches=(_purge(home, batch, None, "batch", who, now),))
    if not names:  # a purge was stopped at its very end, and reading finished it
        return Purged(batches=())
    return Purged(batches=(_purge(home, batch, names, "batch", who, now),))


def purge_records(
    home: Home, ids: Sequence[str], batch: str | None, who: str, now: datetime
) -> Purged:
    """Forget some records. Raises NotQuarantined, before anything is done, for unknown ids."""
    by_batch: dict[str, list[str]] = {}
    for record in find_records(home, ids, batch):
        by_batch.setdefault(record.batch, []).append(record.id)
    return Purged(
        batches=tuple(
            _purge(home, digest, names, "records", who, now)
            for digest, names in sorted(by_batch.items())
        )
    )


def show_purged(console: Console, done: Purged) -> None:
    for one in done.batches:
        count = "all records" if one.records is None else f"{one.records:,} records"
        console.print(f"{one.batch}: {count} forgotten", highlight=False, soft_wrap=True)
        console.print(f"  statement  {one.statement}", highlight=False, soft_wrap=True)
    if not done.batches:
        console.print("nothing was due")


def _ids(home: Home, batch: str) -> list[str]:
    tables = quarantine.read(home, batch, columns=["id"])
    return [name for table in tables for name in table["id"].to_pylist()]


def _purge(
    home: Home, batch: str, names: list[str] | None, why: str, who: str, now: datetime
) -> PurgedBatch:
    """names: of the records; None for all of a batch that cannot be read."""
    whole = names is None or len(names) == len(_ids(home, batch))
    records = None if names is None else salted(home, batch, names)
    stored = None if names is None else quarantine.version(home, batch)
    about = {"by": who, "why": why, "whole": whole, "records": records or []}
    written = record_act(
        home,
        "purge",
        # The same records of the same stored file are purged once, however often it is tried.
        "purge " + digest_json([batch, stored, records]),
        {"batch": batch},
        {**about, "count": None if records is None else len(records)},
        now,
    )
    _forget_arrived(home, batch)
    if whole:
        shutil.rmtree(folder(home, batch), ignore_errors=True)
        quarantine.shred(home, batch)
    else:
        quarantine.remove(home, batch, names or [])
    count = None if names is None else len(names)
    return PurgedBatch(batch=batch, records=count, whole=whole, statement=written)


def _forget_arrived(home: Home, batch: str) -> None:
    """The batch as it arrived, gone at once under its name; leftovers of killed work too."""
    with scratch_folder(home) as work:
        arrived = home.batch(batch)
        if arrived.exists():
            arrived.rename(work / "batch")
            sync_folder(arrived.parent)
