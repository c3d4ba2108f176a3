"""What accepted updates taught, kept small, so that the next one can rehearse it.

For each accepted batch a fixed sample of its rows is kept (a reservoir, chosen by hash so
that the same batch always keeps the same rows). A draw takes rows of the batches in the
champion's own lineage only: what was rolled back is not rehearsed. Rows that were erased
or quarantined since never come back.
"""

import hashlib
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tidegate.flows.erasing.tombstones import Erased
from tidegate.flows.home import Home

RESERVOIR = 256  # rows kept of each accepted batch
LEAST = 4  # rows drawn of each batch, however many there are


@dataclass(frozen=True)
class Draw:
    """What one update rehearses: the file, and how many rows of which batch."""

    path: Path | None
    rows: int
    by_batch: dict[str, int]
    seed: int


def remember(home: Home, batch: str, kept: Path) -> Path:
    """Keep a reservoir of an accepted batch's target rows. Idempotent."""
    target = _reservoir(home, batch)
    if target.exists():
        return target
    table = pq.read_table(kept)
    table = table.filter(pc.equal(table["learn"], "target"))
    order = sorted(range(table.num_rows), key=lambda i: _rank(table["id"][i].as_py()))
    table = table.take(pa.array(sorted(order[:RESERVOIR]), pa.int64()))
    _write(table, target)
    return target


def draw(
    home: Home,
    lineage: Sequence[str],
    count: int,
    seed: int,
    never: Collection[str],
    out: Path,
) -> Draw:
    """Draw about `count` rows, evenly over the batches of a lineage, into one Parquet file.

    `never` holds record ids that may not be drawn. A batch of the lineage without a
    reservoir is an error: rehearsing less than the record says would go unseen.
    """
    if not lineage or count <= 0:
        return Draw(None, 0, {}, seed)
    share = max(LEAST, -(-count // len(lineage)))
    random = np.random.default_rng(seed)
    parts: list[pa.Table] = []
    erased = Erased(home)
    by_batch: dict[str, int] = {}
    for batch in sorted(lineage):
        source = _reservoir(home, batch)
        if not source.exists():
            raise FileNotFoundError(
                f"{source}: the rows of an accepted batch are gone; restore the file, or "
                "start a new model line"
            )
        table = erased.left_out(pq.read_table(source))
        refused = pa.array(sorted(never), pa.string())
        table = table.filter(pc.invert(pc.is_in(table["id"], value_set=refused)))
        picked = random.permutation(table.num_rows)[:share]
        parts.append(table.take(pa.array(np.sort(picked), pa.int64())))
        by_batch[batch] = len(picked)
    drawn = pa.concat_tables(parts, promote_options="default")
    if drawn.num_rows == 0:
        return Draw(None, 0, by_batch, seed)
    _write(drawn, out)
    return Draw(out, drawn.num_rows, by_batch, seed)


def _reservoir(home: Home, batch: str) -> Path:
    return home.replay / f"{batch.removeprefix('sha256:')}.parquet"


def _rank(record_id: str) -> bytes:
    return hashlib.sha256(b"reservoir\0" + record_id.encode()).digest()


def _write(table: pa.Table, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_suffix(".tmp")
    with draft.open("wb") as file:
        pq.write_table(table, file, compression="zstd")
        file.flush()
        os.fsync(file.fileno())
    draft.rename(target)
