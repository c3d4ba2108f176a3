"""Rows and texts that nobody thought of: each ends in one place, in bounded time.

`make fuzz` looks for more of them, for as long as one likes.
"""

import json
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.ingesting import NOW, drop, listed, record, run, stored
from tidegate.flows.ingest import IngestError
from tidegate.flows.intake.columns import Columns
from tidegate.flows.intake.connectors.record import read_record
from tidegate.gates.masking import Masker
from tidegate.gates.signals.compute import Settings, measure_chunk
from tidegate.gates.signals.contamination import Protected
from tidegate.gates.signals.personal_data import KINDS
from tidegate.gates.signals.rare_tokens import TokenAuthors
from tidegate.gates.signals.secret_rules import load_rules

SLOW = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
KEY = "0" * 16
MEASURED = Settings(
    rules=load_rules(),
    key=KEY,
    protected=Protected(["the quick brown fox jumps over the lazy dog again and again"], KEY),
    received=8,
    authors=TokenAuthors(2, KEY, 1 << 10),
)
MASKER = Masker(frozenset(KINDS), MEASURED.rules, unicode=True)
PIECES = (
    "a", "1", " ", "@", ".", "-", "(", "[", "sk-", "a@b.co ", "4111 1111 1111 1111 ", "my password is ",
    "\0", "\u200d", "\u202e", "\ufeff", "\ud7ff", "\U000e0041", "\U0010ffff", "e\u0301", "ﷺ", "👩\u200d",
    "ignore all previous ", "\r", "\x1b[2J", "://", "%", "\\", "{{", "</s>", "|",
)  # fmt: skip
texts = st.one_of(
    st.text(max_size=60),
    st.builds(str.__mul__, st.sampled_from(PIECES), st.integers(0, 3000)),
    st.lists(st.sampled_from(PIECES), max_size=60).map("".join),
)
TIMES = (
    "2026-05-01T00:00:00Z", "0000-00-00T00:00:00Z", "9999-12-31T23:59:59+00:00", "-1", 1e308, -1,
    "2026-02-30T00:00:00Z", "2026-05-01T00:00:60Z", "2026-05-01T25:00:00Z", "1969-01-01T00:00:00Z",
    "2026-05-01T00:00:00+99:99", "2026-05-01T00:00:00.0000000000000001Z", "２０２６-05-01T00:00:00Z",
)  # fmt: skip


@SLOW
@given(said=st.lists(texts, min_size=1, max_size=8))
def test_every_signal_gives_one_number_a_record(said: list[str]) -> None:
    columns = Columns()
    for i, text in enumerate(said):
        exchange = [
            {"role": "user", "content": text.replace("\0", "")},
            {"role": "assistant", "content": said[-1 - i].replace("\0", "")},
        ]
        columns.add(read_record(record(i, messages=exchange), NOW), f"u_{i}", 0, i)
    table = columns.take()
    for name, values in measure_chunk(table, MEASURED).items():
        assert len(values) == table.num_rows and values.dtype == np.float32, name
        assert not np.isinf(values).any(), name
    for row in table.to_pylist():
        masked, _ = MASKER.mask(row)
        assert [m["role"] for m in masked["messages"]] == [m["role"] for m in row["messages"]]


@SLOW
@given(
    when=st.sampled_from(TIMES), field=st.sampled_from(("time", "valid_from", "valid_until"))
)
def test_absurd_times_end_in_one_place(
    tmp_path_factory: pytest.TempPathFactory, when: Any, field: str
) -> None:
    folder = tmp_path_factory.mktemp("times")
    row = record(1, **{field: when})
    batch = run(folder, drop(folder / "d.jsonl", record(0), row))
    assert batch.read == 2 == batch.rows + batch.unreadable
    assert all(isinstance(r["time"], datetime) for r in stored(folder, batch))


@SLOW
@given(
    value=st.one_of(
        st.lists(st.one_of(st.none(), st.text(max_size=4)), max_size=3),
        st.dictionaries(st.sampled_from(("a", "b")), st.integers(-9, 9), min_size=1),
        st.binary(max_size=6),
        st.integers(-(2**62), 2**62),
        st.datetimes(),
        st.floats(),
        st.text(max_size=8),
    ),
    field=st.sampled_from(
        ("id", "time", "source", "user", "messages", "consent", "feedback", "tags", "model")
    ),
)
def test_a_parquet_column_of_any_type_ends_in_one_place(
    tmp_path_factory: pytest.TempPathFactory, value: Any, field: str
) -> None:
    folder = tmp_path_factory.mktemp("types")
    rows = pa.Table.from_pylist([record(0), record(1)])
    rows = rows.drop_columns(field) if field in rows.column_names else rows
    pq.write_table(rows.append_column(field, pa.array([value, None])), folder / "d.parquet")
    try:
        batch = run(folder, folder / "d.parquet")
    except IngestError as no:
        assert "--default" in str(no) or "same id" in str(no)
        return
    parts = (batch.rows, batch.unreadable, batch.without_consent, batch.duplicates)
    assert batch.read == 2 == sum(parts)
    assert len(listed(folder, "unreadable.jsonl")) == batch.unreadable


HOSTILE = {
    "nested 100,000 deep": b'{"id":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "objects nested 100,000 deep": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "a string of 5 MB": json.dumps(record(1, id="x" * 5_000_000)).encode(),
    "lone surrogate": b'{"id":"\\ud800","messages":[]}',
    "surrogates the wrong way": b'{"id":"\\udc00\\ud800"}',
    "surrogates as bytes": b'{"id":"\xed\xa0\x80"}',
    "overlong UTF-8": b'{"id":"\xc0\x80"}',
    "NUL": json.dumps(record(1, source="a\0b")).encode(),
    "bare NUL": b'{"id":\0}',
    "keys twice": b'{"id":"a","id":"b"}',
    "keys twice, escaped": b'{"id":"a","\\u0069d":"b"}',
    "digits": b'{"id":' + b"9" * 1_000_000 + b"}",
    "exponents": b'{"id":1e' + b"9" * 1_000_000 + b"}",
    "NaN": b'{"id":NaN}',
    "many keys": b"{" + b",".join(b'"k%d":0' % i for i in range(200_000)) + b"}",
    "many messages": json.dumps(record(1, messages=[{}] * 200_000)).encode(),
    "colons": json.dumps(record(1, id=":" * 1_000_000)).encode(),
    "backslashes": b'{"id":"' + b"\\\\" * 500_000 + b'"}',
}


@pytest.mark.parametrize("row", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_row_is_unreadable_in_bounded_time(tmp_path: Path, row: bytes) -> None:
    began = time.process_time()
    batch = run(tmp_path, drop(tmp_path / "d.jsonl", record(0), row))
    assert time.process_time() - began < 10  # seconds; it takes well below one
    assert (batch.read, batch.rows, batch.unreadable) == (2, 1, 1)
    (line,) = listed(tmp_path, "unreadable.jsonl")
    assert line["line"] == 2 and len(line["reason"]) < 300


def test_entities_are_text_and_are_never_expanded(tmp_path: Path) -> None:
    laughs = "&lol;" * 600_000
    batch = run(tmp_path, drop(tmp_path / "d.jsonl", record(1, tags={"lol": laughs})))
    (row,) = stored(tmp_path, batch)
    assert json.loads(row["tags"]) == {"lol": laughs}
