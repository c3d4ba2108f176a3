"""What earlier promoted batches of a home taught, for the gates that look over several drops."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tidegate.flows.home import Home
from tidegate.flows.intake.batches import RECORDS
from tidegate.flows.learned import batches_before, learned_before
from tidegate.gates.signals.compute import READ, chunks
from tidegate.gates.signals.history import History

MOST = 100_000  # records that are looked back on, those of the newest batches first


def taught_before(
    home: Home,
    batch: str,
    source: Path,
    key: str,
    *,
    names: bool,
    votes: bool,
    facts: bool,
) -> History | None:
    """The newest MOST records that were learned before a batch ended; None: there are none.

    batch: digest; its own records, and what came later, do not count, so that it is judged
    alike again. source: its Parquet file. names, votes, facts: what is asked.
    """
    before = batches_before(home, batch)
    if not before or not (names or votes or facts):
        return None
    rows = _learned(home, batch, before, source)
    return History.of(rows, key, names=names, votes=votes, facts=facts)


def _learned(home: Home, batch: str, before: Sequence[str], source: Path) -> Iterator[pa.Table]:
    """The records that were learned, some at a time."""
    until = _last(source)
    stored = [
        (_last(path), path) for path in map(partial(_records, home), before) if path.is_file()
    ]
    learned, left = learned_before(home, batch), MOST
    for _, path in sorted(
        ((t, p) for t, p in stored if t and until and t <= until), reverse=True
    ):
        for table in chunks(path, READ) if left else ():
            names = table.column("id").to_pylist()
            taught = table.filter(pa.array([learned.knows(name) for name in names], pa.bool_()))
            taught = taught.slice(0, left)
            left -= taught.num_rows
            yield taught


def _records(home: Home, digest: str) -> Path:
    return home.batch(digest) / RECORDS


def _last(path: Path) -> datetime | None:
    """When the newest record of a Parquet file ended; None: it has none."""
    last: datetime | None = pc.max(pq.read_table(path, columns=["time"])["time"]).as_py()
    return last
