"""The lineage of an update: one small Parquet file of marks, in `lineage/` of the home.

    record   mark of the record's id
    author   mark of the author's pseudonym; null where the row's author is not known any more
    fate     learned   trained on as a new row
             kept      passed the data gates, but there was nothing in it to learn, or it was
                       routed elsewhere: to the context store, or into the drop of a module
             refused   quarantined, or left out by a gate
             replayed  trained on again, drawn from an earlier batch

Written by the update before it trains. It is made again from the update's own files for
updates from before there was a lineage; what a purge has deleted by then cannot be traced.
Rows that came without consent were never in a batch, and are not in the lineage.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tidegate.flows import durable
from tidegate.flows.home import Home
from tidegate.flows.intake.batches import RECORDS
from tidegate.flows.learned import learned_rows
from tidegate.flows.tracing.marks import Marker
from tidegate.flows.usage import UsageError

LEARNED, KEPT, REFUSED, REPLAYED = "learned", "kept", "refused", "replayed"
IN_THE_WEIGHTS = (LEARNED, REPLAYED)
SCHEMA = pa.schema([("record", pa.string()), ("author", pa.string()), ("fate", pa.string())])
BATCH = b"tidegate.batch"


@dataclass(frozen=True)
class Trace:
    """What one update did with which records."""

    update_id: str
    batch: str
    rows: pa.Table  # of SCHEMA

    def marked(self, records: pa.Array, authors: pa.Array) -> pa.Table:
        """The rows of these records, or by these authors (arrays of marks)."""
        named = pc.is_in(self.rows["record"], value_set=records)
        written = pc.is_in(self.rows["author"], value_set=authors)
        return self.rows.filter(pc.or_(named, written))

    def count(self, fate: str) -> int:
        return int(pc.sum(pc.equal(self.rows["fate"], fate)).as_py() or 0)


def place(home: Home, update_id: str) -> Path:
    return home.root / "lineage" / f"{update_id}.parquet"


def write(home: Home, update_id: str, batch: str) -> Trace:
    """Note what an update was given and has drawn so far. The same files, the same index."""
    rows = _rows(home, home.updates / update_id, batch)
    target = place(home, update_id)
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    sink = pa.BufferOutputStream()
    pq.write_table(
        rows.replace_schema_metadata({BATCH: batch.encode()}), sink, compression="zstd"
    )
    durable.replace(target, sink.getvalue().to_pybytes())
    return Trace(update_id, batch, rows)


def read(home: Home, update_id: str, batch: str) -> Trace:
    """The trace of an update; made now if it is from before there was a lineage.

    batch: the digest that its statement names. Raises UsageError for a file that is damaged or
    about another batch.
    """
    path = place(home, update_id)
    if not path.exists():
        return write(home, update_id, batch)
    found = _load(path, update_id)
    if found.batch != batch:
        raise _damaged(path)
    return found


def noted(home: Home, update_id: str) -> Trace | None:
    """What an update noted, decided or not; None if it came to no note. Raises as `read` does."""
    path = place(home, update_id)
    return _load(path, update_id) if path.exists() else None


def _load(path: Path, update_id: str) -> Trace:
    try:
        rows = pq.read_table(path)
        batch = (rows.schema.metadata or {})[BATCH].decode()
    except (pa.ArrowException, OSError, ValueError, KeyError):
        raise _damaged(path) from None
    if not rows.schema.equals(SCHEMA):
        raise _damaged(path)
    return Trace(update_id, batch, rows)


def _damaged(path: Path) -> UsageError:
    return UsageError(
        f"{path}: is damaged, or is not the lineage of its update; restore it from a backup, or "
        "delete it to have it made again from the update's files"
    )


def _rows(home: Home, work: Path, batch: str) -> pa.Table:
    marker = Marker(home)
    kept = _columns(work / "check" / "kept.parquet", ["id", "user", "learn"])
    names = set(kept["id"].to_pylist())
    came = _columns(home.batch(batch) / RECORDS, ["id", "user"])
    refused = [(i, u) for i, u in _pairs(came) if i not in names]
    names.update(name for name, _ in refused)
    listed: list[tuple[str, str | None]] = [
        (name, None) for name in _refused(work) if name not in names
    ]
    left = set(_columns(learned_rows(work), ["id"])["id"].to_pylist())
    fates = [
        LEARNED if how == "target" and name in left else KEPT
        for name, how in zip(kept["id"].to_pylist(), kept["learn"].to_pylist(), strict=True)
    ]
    drawn = _pairs(_columns(work / "replay.parquet", ["id", "user"]))
    return pa.concat_tables(
        [
            _table(marker, _pairs(kept), fates),
            _table(marker, refused, [REFUSED] * len(refused)),
            _table(marker, listed, [REFUSED] * len(listed)),
            _table(marker, drawn, [REPLAYED] * len(drawn)),
        ]
    )


def _table(marker: Marker, rows: list[tuple[str, str | None]], fates: list[str]) -> pa.Table:
    records = marker.records(name for name, _ in rows)
    authors = marker.authors(user for _, user in rows)
    return pa.table({"record": records, "author": authors, "fate": fates}, schema=SCHEMA)


def _columns(path: Path, names: list[str]) -> pa.Table:
    if not path.exists():
        return pa.schema([(name, pa.string()) for name in names]).empty_table()
    return pq.read_table(path, columns=names)


def _pairs(rows: pa.Table) -> list[tuple[str, str | None]]:
    return list(zip(rows["id"].to_pylist(), rows["user"].to_pylist(), strict=True))


def _refused(work: Path) -> Iterator[str]:
    """Ids that the check's list says were quarantined, for when their batch was purged."""
    path = work / "check" / "records.jsonl"
    if path.exists():
        with path.open(encoding="utf-8") as lines:
            for said in map(json.loads, lines):
                if said["action"] == "quarantine":
                    yield said["id"]
