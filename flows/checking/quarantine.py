"""The quarantine: what a gate refused, kept apart and readable by its owner only.

One Parquet file a batch below the home: the records as they came, with the gates that
refused them. A record that was quarantined once stays, under whatever policy the batch is
checked again. Nothing that trains reads this folder.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tidegate.flows.home import Home
from tidegate.flows.intake.batches import SCHEMA, sync_folder

WHY = pa.schema(
    [
        ("gates", pa.list_(pa.string())),
        ("details", pa.list_(pa.string())),
        ("policy", pa.string()),
    ]
)
KEPT_APART = pa.schema([*SCHEMA, *WHY])


def place(home: Home, batch: str) -> Path:
    """The file of a batch, which is there only if something of it was quarantined."""
    return home.root / "quarantine" / f"{batch.removeprefix('sha256:')}.parquet"


def store(home: Home, batch: str, tables: Iterable[pa.Table], ids: Sequence[str]) -> Path:
    """Put records (tables of KEPT_APART, of these ids) into the quarantine of their batch.

    Records that are there already stay; those of `ids` are replaced. Whole or not at all.
    """
    path = place(home, batch)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        with pq.ParquetWriter(file, KEPT_APART, compression="zstd") as writer:
            for table in tables:
                writer.write_table(table.select(KEPT_APART.names).cast(KEPT_APART))
            known = pa.array(ids, pa.string())
            for table in _chunks(path):
                writer.write_table(table.filter(pc.invert(pc.is_in(table["id"], known))))
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)
    return path


def read(home: Home, batch: str, ids: Sequence[str] | None = None) -> pa.Table:
    """The quarantined records of a batch, or some of them; an empty table if there are none."""
    tables = [KEPT_APART.empty_table(), *_chunks(place(home, batch))]
    if ids is not None:
        wanted = pa.array(ids, pa.string())
        tables = [table.filter(pc.is_in(table["id"], wanted)) for table in tables]
    return pa.concat_tables(tables)


def _chunks(path: Path) -> Iterator[pa.Table]:
    if path.exists():
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=4096):
                yield pa.Table.from_batches([batch])
