"""Parquet: the same records as JSON Lines, and one table for each way to be wrong."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.ingesting import GOOD, SECRET, but, drop, reasons, run
from tidegate.flows.intake.connectors.rows import IngestError


def test_parquet_and_json_lines_make_the_same_batch(tmp_path: Path) -> None:
    full = but(
        feedback={"rating": "up", "correction": None, "comment": None},
        tags={"a": "1"},
        valid_from="2026-01-01T00:00:00Z",
    )
    first = run(tmp_path, drop(tmp_path / "d.jsonl", full, but(id="b")))
    when = datetime(2026, 5, 1, tzinfo=UTC)
    from_text = [full, but(id="b")]
    from_types = [
        {**full, "time": when, "valid_from": datetime(2026, 1, 1, tzinfo=UTC)},
        but(id="b", time=when),
    ]
    as_map = pa.Table.from_pylist([{**row, "tags": None} for row in from_types])
    tags = pa.array([[("a", "1")], None], pa.map_(pa.string(), pa.string()))
    as_map = as_map.set_column(as_map.schema.get_field_index("tags"), "tags", tags)
    as_json = [{**row, "tags": json.dumps(row.get("tags", {}))} for row in from_types]
    tables = [pa.Table.from_pylist(rows) for rows in (from_text, from_types, as_json)]
    for table in (*tables, as_map):
        pq.write_table(table, tmp_path / "d.parquet", row_group_size=1)
        assert run(tmp_path, tmp_path / "d.parquet").digest == first.digest


@pytest.mark.parametrize(
    ("column", "values", "reason"),
    [
        ("time", pa.array([datetime(2026, 5, 1)]), "time: not a time with a zone"),
        ("time", pa.array([date(2026, 5, 1)]), "time: not a time with a zone"),
        ("time", pa.array([2**62], pa.timestamp("us", "UTC")), "out of range"),
        ("id", pa.array([b"\xff\xfe"]), "not JSON text"),
        ("id", pa.array([b"\xff"]).view(pa.string()), "not UTF-8 text"),
        ("tags", pa.array(["{"]), "tags: not JSON"),
        ("tags", pa.array(['{"a":"1","a":"2"}']), "tags: an object sets the same key twice"),
        ("tags", pa.array([["a"]]), "tags: neither a map nor an object"),
        (
            "tags",
            pa.array([[("a", "1"), ("a", "2")]], pa.map_(pa.string(), pa.string())),
            "an object sets the same key twice",
        ),
        ("hunter2", pa.array([1]), "holds a field that a record does not have"),
        ("id", pa.array([None], pa.string()), "id: Field required"),
        ("consent", pa.array(["true"]), "consent: Input should be a valid boolean"),
        ("model", pa.array(["x" * 5_000_000]), "row longer than 4 MB"),
    ],
)
def test_a_bad_parquet_row_is_unreadable(
    tmp_path: Path, column: str, values: Any, reason: str
) -> None:
    table = pa.Table.from_pylist([but(id="b", **{} if column in GOOD else {column: None})])
    index = table.schema.get_field_index(column)
    pq.write_table(table.set_column(index, column, values), tmp_path / "d.parquet")
    batch = run(tmp_path, tmp_path / "d.parquet", drop(tmp_path / "d.jsonl", GOOD))
    assert (batch.read, batch.rows, batch.unreadable) == (2, 1, 1)
    assert reason in reasons(tmp_path)[0] and SECRET not in reasons(tmp_path)[0]


def test_only_the_bad_row_of_a_parquet_file_is_lost(tmp_path: Path) -> None:
    table = pa.Table.from_pylist([but(id=str(i)) for i in range(600)])
    models = pa.array([b"\xff" if i == 300 else b"m" for i in range(600)]).view(pa.string())
    pq.write_table(table.append_column("model", models), tmp_path / "d.parquet")
    batch = run(tmp_path, tmp_path / "d.parquet")
    assert (batch.rows, batch.unreadable) == (599, 1)
    line = json.loads((tmp_path / "out" / "unreadable.jsonl").read_text())
    assert line["line"] == 301


def test_a_column_that_comes_twice_is_refused(tmp_path: Path) -> None:
    table = pa.Table.from_pylist([GOOD])
    pq.write_table(table.append_column("id", pa.array(["x"])), tmp_path / "d.parquet")
    with pytest.raises(IngestError, match="a column comes twice"):
        run(tmp_path, tmp_path / "d.parquet")
