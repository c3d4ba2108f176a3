"""Parquet: the fields of a Record as columns, read a few rows at a time.

An absent field is a null: top-level nulls are left out, as JSON Lines would leave them out.
Times are timestamps with a time zone, or text; `tags` may be a map, a struct or JSON text.
"""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tidegate.flows.intake.connectors.jsonl import parse
from tidegate.flows.intake.connectors.rows import IngestError, Row, Unreadable

AT_A_TIME = 256  # rows; each may be megabytes


def rows(path: Path) -> Iterator[Row]:
    """Every row. Raises IngestError if the file is not Parquet, or breaks off."""
    try:
        with pq.ParquetFile(path) as file:
            twice = {name for name in file.schema_arrow.names if _count(file, name) > 1}
            if twice:
                raise IngestError(f"{path}: a column comes twice; write each field once")
            line = 0
            for batch in file.iter_batches(batch_size=AT_A_TIME):
                for value in _values(batch):
                    line += 1
                    yield Row(line, value)
    except pa.ArrowException as no:
        raise IngestError(
            f"{path}: not a whole Parquet file; write it again, or give its rows as JSON Lines"
        ) from no
    except OSError as no:
        why = no.strerror or "it is damaged"
        raise IngestError(
            f"{path}: cannot be read ({why}); see that the file is whole and that this user "
            "may read it"
        ) from no


def _count(file: pq.ParquetFile, name: str) -> int:
    names: list[str] = file.schema_arrow.names
    return names.count(name)


def _values(batch: pa.RecordBatch) -> Iterator[dict[str, Any] | Unreadable]:
    try:
        found = batch.to_pylist()
    except (ValueError, OverflowError):  # text that is not UTF-8, a time past the year 9999
        if batch.num_rows == 1:
            yield Unreadable("a value is not UTF-8 text, or is a time out of range")
        else:  # find the row
            for i in range(batch.num_rows):
                yield from _values(batch.slice(i, 1))
        return
    for value in found:
        yield _tidy(value)


def _written(item: Any) -> Any:
    """Times as text; a day, or a time without a zone, stays one and is refused later."""
    return item.isoformat() if isinstance(item, date) else item


def _tidy(value: dict[str, Any]) -> dict[str, Any] | Unreadable:
    row = {key: _written(item) for key, item in value.items() if item is not None}
    tags = row.get("tags")
    if isinstance(tags, list):  # a map arrives as pairs
        try:
            row["tags"] = dict(tags)
        except (TypeError, ValueError):
            return Unreadable("tags: neither a map nor an object")
        if len(row["tags"]) < len(tags):
            return Unreadable("an object sets the same key twice")
    elif isinstance(tags, dict):  # a struct has every key in every row
        row["tags"] = {key: item for key, item in tags.items() if item is not None}
    elif isinstance(tags, str):
        parsed = parse(tags.encode())
        if isinstance(parsed, Unreadable):
            return Unreadable(f"tags: {parsed.reason}")
        row["tags"] = parsed
    return row
