"""Batches on disk: immutable, named by what is in them, whole or not there at all.

The digest of a batch is SHA-256 over the sorted digests of its rows, and the digest of a row
is SHA-256 over the canonical JSON of its content columns. Neither the order in which rows
arrived, nor the files they came in, nor the writer's version of Parquet changes the name.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import ValidationError

from tidegate.flows.home import Home
from tidegate.flows.intake.connectors.rows import IngestError
from tidegate.flows.intake.home_key import sync_folder
from tidegate.gates.digest import canonical, digest_bytes
from tidegate.gates.types import Batch

RECORDS, ABOUT = "records.parquet", "batch.json"
ROW_GROUP = 65_536  # rows at most
ROW_GROUP_BYTES = 128 << 20  # and about this much text, so that readers can hold one

_TIME = pa.timestamp("us", "UTC")
_MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
CONTENT = pa.schema(
    [
        ("id", pa.string()),
        ("time", _TIME),
        ("source", pa.string()),
        ("user", pa.string()),
        ("messages", _MESSAGES),
        ("rating", pa.string()),
        ("correction", pa.string()),
        ("comment", pa.string()),
        ("model", pa.string()),
        ("language", pa.string()),
        ("tags", pa.string()),
        ("valid_from", _TIME),
        ("valid_until", _TIME),
        ("signature", pa.string()),
    ]
)
# What follows from the content, written out for whoever reads the batch.
DERIVED = pa.schema(
    [("prompt", pa.string()), ("response", pa.string()), ("learn", pa.string())]
)
SCHEMA = pa.schema([*CONTENT, *DERIVED])
# Columns that older batches do not have. Where there is none, none was said.
LATER = frozenset({"signature"})
OLDER = pa.schema([field for field in SCHEMA if field.name not in LATER])


def row_digest(content: Mapping[str, Any]) -> bytes:
    """32 bytes. `content`: the columns of CONTENT by name, times as microseconds since 1970.

    A column of LATER that says nothing is left out, so that a row has the name that it had
    before there was such a column. orjson's sorted form of text, whole numbers and null is
    byte for byte `canonical`'s, at a twentieth of the time (a property test says so).
    """
    content = {k: v for k, v in content.items() if v is not None or k not in LATER}
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).digest()


def batch_digest(rows: bytes | bytearray) -> str:
    """`rows`: the rows' digests one after another, 32 bytes each, in any order."""
    ordered = np.sort(np.frombuffer(bytes(rows), dtype="S32")).tobytes() if rows else b""
    return digest_bytes(b"tidegate batch 1\n" + ordered)


def filled(table: pa.Table, schema: pa.Schema = SCHEMA) -> pa.Table:
    """The table with every column of the schema: what an older version left out is null."""
    whole = pa.concat_tables([schema.empty_table(), table], promote_options="default")
    return whole.select(schema.names)


def write_records(path: Path, tables: Iterable[pa.Table]) -> None:
    """Write tables of SCHEMA, sorted by id, as one Parquet file that is synced to disk."""
    with path.open("wb") as file:
        with pq.ParquetWriter(file, SCHEMA, compression="zstd") as writer:
            for table in _row_groups(tables):
                writer.write_table(table, row_group_size=ROW_GROUP)
        file.flush()
        os.fsync(file.fileno())


def _row_groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    waiting, rows, size = [SCHEMA.empty_table()], 0, 0
    for table in tables:
        waiting.append(filled(table))
        rows, size = rows + table.num_rows, size + table.nbytes
        while rows >= ROW_GROUP or size >= ROW_GROUP_BYTES:
            whole = pa.concat_tables(waiting).combine_chunks()
            yield whole.slice(0, ROW_GROUP)
            rest = whole.slice(ROW_GROUP)
            waiting, rows, size = [rest], rest.num_rows, rest.nbytes
    if rows:
        yield pa.concat_tables(waiting).combine_chunks()


def described(rows: pa.Table) -> Batch:
    """What says of rows that came in before, one or more, that they are a batch."""
    times = pc.min_max(rows["time"]).as_py()
    counted = rows.group_by("source").aggregate([("id", "count")]).to_pylist()
    return Batch(
        digest=batch_digest(b"".join(row_digests(rows))),
        rows=rows.num_rows,
        read=rows.num_rows,
        unreadable=0,
        without_consent=0,
        duplicates=0,
        sources={row["source"]: row["id_count"] for row in sorted(counted, key=str)},
        first=times["min"],
        last=times["max"],
    )


def publish(draft: Path, batch: Batch, home: Home) -> Path:
    """Move a folder with RECORDS in it to its place under `home`; return that place.

    If the batch is there already, it is checked and kept, and the draft is left alone.
    Raises IngestError if what is there is not that batch.
    """
    place = home.batch(batch.digest)
    if not place.exists():
        with (draft / ABOUT).open("wb") as file:
            file.write(canonical(batch.model_dump(mode="json")) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        sync_folder(draft)
        try:
            draft.rename(place)
        except OSError:
            if not place.exists():  # otherwise another process was faster
                raise
        else:
            sync_folder(place.parent)
            return place
    load_batch(home, batch.digest, thorough=True)
    return place


def load_batch(home: Home, digest: str, *, thorough: bool = False) -> Batch:
    """What batch.json says of the batch; with `thorough`, every row is digested again.

    Raises IngestError if the batch is not there or is not what its name says.
    """
    place = home.batch(digest)
    try:
        batch = Batch.model_validate_json((place / ABOUT).read_bytes())
        with pq.ParquetFile(place / RECORDS) as file:
            sound = (
                batch.digest == digest
                and file.metadata.num_rows == batch.rows
                and (file.schema_arrow.equals(SCHEMA) or file.schema_arrow.equals(OLDER))
                and (not thorough or batch_digest(_row_digests(file)) == digest)
            )
    except FileNotFoundError as no:
        raise IngestError(f"{place}: the batch is not there; ingest its drop again") from no
    except (ValidationError, pa.ArrowException, ValueError, OSError) as no:
        raise _changed(place) from no
    if not sound:
        raise _changed(place)
    return batch


def _changed(place: Path) -> IngestError:
    return IngestError(
        f"{place}: the batch was changed or damaged after it was written; move the folder "
        "away, find out who changed it, and ingest the drop again"
    )


def row_digests(table: pa.Table) -> list[bytes]:
    """The digest of each row of a table that has the columns of CONTENT."""
    plain = pa.schema([f.with_type(pa.int64()) if f.type == _TIME else f for f in CONTENT])
    return [row_digest(row) for row in table.select(CONTENT.names).cast(plain).to_pylist()]


def _row_digests(file: pq.ParquetFile) -> bytearray:
    found = bytearray()
    names = [name for name in CONTENT.names if name in file.schema_arrow.names]
    for rows in file.iter_batches(batch_size=4096, columns=names):
        found += b"".join(row_digests(filled(pa.Table.from_batches([rows]), CONTENT)))
    return found
