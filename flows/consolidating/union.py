"""One batch of all that some updates learned, so that it can be checked and learned as one.

    batches/DIGEST/records.parquet   the rows that were kept, as they came in
    batches/DIGEST/parts.json        digests of the batches that they are of

Rows are taken from the stored batches, or from what the update kept where a batch was purged.
A record that is in two of them is taken from the later one. The data gates see all of it again.
"""

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tidegate.flows.home import Home
from tidegate.flows.intake import batches
from tidegate.flows.intake.scratch import scratch_folder
from tidegate.flows.learned import PARTS, learned_rows, parts_of
from tidegate.flows.tracing.steps import Step
from tidegate.flows.usage import UsageError
from tidegate.gates.digest import canonical
from tidegate.gates.types import Batch


def union(home: Home, steps: Sequence[Step]) -> Batch:
    """Store what the updates learned as one batch. The same rows, the same batch.

    Raises UsageError if what an update kept is gone, or nothing is left of all of them.
    """
    tables: list[pa.Table] = []
    seen = pa.array([], pa.string())
    for step in reversed(steps):  # the later one first: it wins
        rows = _learned(home, step)
        rows = rows.filter(pc.invert(pc.is_in(rows["id"], value_set=seen)))
        seen = pa.concat_arrays([seen, rows["id"].combine_chunks()])
        tables.append(rows)
    rows = pa.concat_tables(tables).sort_by("id")
    if not rows.num_rows:
        raise UsageError("no row is left of what these updates learned: nothing to merge")
    parts = sorted({part for step in steps for part in _parts(home, step.batch)})
    batch = batches.described(rows)
    with scratch_folder(home) as work:
        draft = work / "batch"
        draft.mkdir()
        batches.write_records(draft / batches.RECORDS, [rows])
        (draft / PARTS).write_bytes(canonical(parts) + b"\n")
        home.batch(batch.digest).parent.mkdir(parents=True, exist_ok=True)
        batches.publish(draft, batch, home)
    return batch


def _parts(home: Home, batch: str) -> Iterator[str]:
    """The batches that rows came in: a merged one's own are named, not it alone."""
    yield batch
    yield from parts_of(home, batch)


def _learned(home: Home, step: Step) -> pa.Table:
    kept = learned_rows(home.updates / step.update_id)
    if not kept.exists():
        raise UsageError(
            f"{kept}: what version {step.version} of {step.model!r} learned is gone; restore it, or "
            "merge only the updates after it"
        )
    taken = batches.filled(pq.read_table(kept))
    stored = home.batch(step.batch) / batches.RECORDS
    if not stored.exists():
        return taken
    rows = batches.filled(pq.read_table(stored))
    return rows.filter(pc.is_in(rows["id"], value_set=taken["id"].combine_chunks()))
