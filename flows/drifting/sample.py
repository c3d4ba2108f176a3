"""What is compared: a bounded sample of what the champion learned, and of what has arrived."""

import hashlib
import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from tidegate.flows.home import Home
from tidegate.flows.ingest import consenting_records
from tidegate.flows.intake.batches import RECORDS
from tidegate.flows.intake.columns import content_of, derived_from
from tidegate.flows.ledger import Ledger
from tidegate.flows.standing import moves
from tidegate.flows.tracing.steps import ancestry, read_steps
from tidegate.flows.usage import UsageError
from tidegate.gates.types import Record

MOST = 4000  # rows of each side, chosen by their ids: more say little more about shares


class Row(NamedTuple):
    """What is compared of one record."""

    source: str
    language: str
    prompt: str
    response: str


def arrived(
    drops: Sequence[str | Path], home: Home, now: datetime, defaults: Mapping[str, object]
) -> list[Row]:
    """Of the drops, the rows that an update could learn from. Writes nothing."""
    records = consenting_records(drops, home, now, defaults)
    return _sample((record.id, _row_of(record)) for record in records)


def learned(home: Home, model: str) -> list[Row]:
    """Of the batches that the champion's lineage learned, the rows as they arrived.

    As they arrived, not as they were masked and filtered: a gate's work is no drift. Who is
    champion is told by the ledger. Nothing learned yet: no rows.
    Raises UsageError for a batch that is gone, and BrokenLedger.
    """
    steps = read_steps(home)
    moved = list(moves(Ledger(home.ledger).read(), model))
    version = moved[-1].version if moved else None
    lineage = ancestry(steps, model, version) if version is not None else ()
    return _sample(row for step in lineage for row in _stored(home, step.batch))


def _stored(home: Home, digest: str) -> Iterator[tuple[str, Row]]:
    path = home.batch(digest) / RECORDS
    if not path.exists():
        raise UsageError(
            f"{path}: the champion learned from this batch and it is gone; restore it from a "
            "backup, or ask without --drift"
        )
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=4096, columns=["id", *Row._fields]):
            for row in batch.to_pylist():
                yield row.pop("id"), _row(**row)


def _row_of(record: Record) -> Row:
    prompt, response, _ = derived_from(content_of(record, record.user))
    return _row(record.source, record.language, prompt, response)


def _row(source: Any, language: Any, prompt: Any, response: Any) -> Row:
    return Row(*(str(said or "") for said in (source, language, prompt, response)))


def _sample(rows: Iterable[tuple[str, Row]]) -> list[Row]:
    """The rows whose hashed ids are the smallest: the same rows, the same sample."""
    keyed = ((hashlib.sha256(b"drift\0" + name.encode()).digest(), row) for name, row in rows)
    return [row for _, row in heapq.nsmallest(MOST, keyed)]
