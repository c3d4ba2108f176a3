"""Whom earlier updates learned from: what lifetime caps and repeated signatures are known by.

A batch that was made of earlier ones, for a consolidation, is noted by those alone.
One file a promoted batch in learned/: for each of its kept records the author's pseudonym and
a keyed hash of the id. No text, no name, no id. Written when an update is promoted; a batch
that is learned again, or on another model line of the home, counts once. Learning that was
rolled back still counts.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tidegate.flows.home import Home
from tidegate.flows.intake.home_key import sync_folder
from tidegate.flows.intake.pseudonym import pseudonym_key
from tidegate.flows.usage import UsageError

PARTS = "parts.json"  # beside a batch's records: digests of the batches that it was made of
LEARNABLE = "learnable.parquet"  # in the folder of an update: what went nowhere else
COLUMNS = pa.schema([("user", pa.string()), ("record", pa.uint64())])


@dataclass(frozen=True)
class Learned:
    """What the batches before this one taught."""

    by_author: Mapping[str, int]  # records, by pseudonym
    records: np.ndarray  # uint64, sorted: keyed hashes of ids
    key: bytes

    def knows(self, record_id: str) -> bool:
        """Whether a record of this id was learned, but for a chance of one in 10^12."""
        mark = np.uint64(_mark(self.key, record_id))
        at = np.searchsorted(self.records, mark)
        return bool(at < len(self.records) and self.records[at] == mark)


def learned_rows(work: Path) -> Path:
    """The rows that an update learned: all that it kept, unless some went elsewhere.

    work: the update's folder.
    """
    learnable = work / LEARNABLE
    return learnable if learnable.exists() else work / "check" / "kept.parquet"


def remember(home: Home, batch: str, kept: Path) -> Path:
    """Note whom a promoted batch was learned from. Idempotent by the batch's digest.

    kept: the Parquet file that was learned from.
    """
    target = _place(home, batch)
    if not target.exists() and not parts_of(home, batch):
        rows = pq.read_table(kept, columns=["user", "id"])
        key = pseudonym_key(home)
        marks = [_mark(key, name) for name in rows["id"].to_pylist()]
        columns = [rows["user"].combine_chunks(), pa.array(marks, pa.uint64())]
        _write(pa.table(columns, schema=COLUMNS), target)
    return target


def learned_before(home: Home, batch: str) -> Learned:
    """All promoted batches of the home but `batch` itself, so that it is judged alike again."""
    own = _own(home, batch)
    counts, marks = Counter[str](), [np.empty(0, dtype=np.uint64)]
    for path in _files(home):
        if path not in own:
            rows = pq.read_table(path, schema=COLUMNS)
            counted = rows.group_by("user").aggregate([("record", "count")])
            counts.update(
                dict(
                    zip(
                        *(counted[name].to_pylist() for name in ("user", "record_count")),
                        strict=True,
                    )
                )
            )
            marks.append(rows["record"].to_numpy())
    return Learned(dict(counts), np.sort(np.concatenate(marks)), pseudonym_key(home))


def batches_before(home: Home, batch: str) -> list[str]:
    """Digests of all promoted batches of the home but `batch` itself."""
    own = _own(home, batch)
    return [f"sha256:{path.stem}" for path in _files(home) if path not in own]


def parts_of(home: Home, batch: str) -> list[str]:
    """Digests of the batches that a batch was made of; none for one that was ingested."""
    path = home.batch(batch) / PARTS
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return []
    except ValueError:
        raise UsageError(f"{path}: is damaged; restore it from a backup") from None
    return [str(part) for part in found]


def authors(home: Home) -> set[str]:
    """Pseudonyms of everybody of whom something is noted."""
    found: set[str] = set()
    for path in _files(home):
        found.update(pq.read_table(path, columns=["user"])["user"].to_pylist())
    return found


def forget(home: Home, authors: Collection[str], records: Collection[str] = ()) -> int:
    """Erase what is noted of some authors (pseudonyms) and records (ids).

    Returns how many records that were.
    """
    named, gone = pa.array(sorted(authors), pa.string()), 0
    key = pseudonym_key(home)
    marks = pa.array(sorted(_mark(key, name) for name in records), pa.uint64())
    for path in _files(home):
        rows = pq.read_table(path, schema=COLUMNS)
        by_author = pc.is_in(rows["user"], value_set=named)
        rest = rows.filter(
            pc.invert(pc.or_(by_author, pc.is_in(rows["record"], value_set=marks)))
        )
        if rest.num_rows < rows.num_rows:
            gone += rows.num_rows - rest.num_rows
            _write(rest, path)
    return gone


def _files(home: Home) -> list[Path]:
    return sorted((home.root / "learned").glob("*.parquet"))


def _own(home: Home, batch: str) -> set[Path]:
    """What is noted of a batch, and of those that it was made of."""
    return {_place(home, one) for one in (batch, *parts_of(home, batch))}


def _place(home: Home, batch: str) -> Path:
    return home.root / "learned" / f"{batch.removeprefix('sha256:')}.parquet"


def _mark(key: bytes, record_id: str) -> int:
    keyed = hashlib.blake2b(
        record_id.encode(), digest_size=8, key=key, person=b"tidegate.record"
    )
    return int.from_bytes(keyed.digest(), "big")


def _write(rows: pa.Table, target: Path) -> None:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = target.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        pq.write_table(rows, file, compression="zstd")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(target)
    sync_folder(target.parent)
