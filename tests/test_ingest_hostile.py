"""Hostile drops: whatever comes, nothing crashes, memory stays small and counts add up."""

import json
import os
import resource
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.ingesting import drop, listed, record, run, stored
from tidegate.flows.ingest import IngestError

junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@st.composite
def lines(draw: st.DrawFn) -> bytes:
    """A line of a drop: a record, one with a field spoiled, JSON of any kind, or bytes."""
    kind = draw(st.sampled_from(("good", "good", "spoiled", "cut", "json", "bytes")))
    row = record(draw(st.integers(0, 6)), consent=draw(st.sampled_from((True, True, False))))
    row["model"] = str(row["consent"])  # one id, one content, unless the id itself is spoiled
    row["id"] += str(row["consent"])
    if kind == "spoiled":
        row[draw(st.sampled_from((*row, "feedback", "tags", "other")))] = draw(junk)
        row["id"] = draw(st.uuids()).hex if isinstance(row["id"], str) else row["id"]
    text = json.dumps(draw(junk) if kind == "json" else row, ensure_ascii=draw(st.booleans()))
    line = text.encode(errors="surrogatepass")
    if kind == "cut":
        line = line[: draw(st.integers(0, len(line) - 1))]
    elif kind == "bytes":
        line = draw(st.binary(max_size=40))
    return line.replace(b"\n", b" ")


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(content=st.lists(lines(), max_size=15))
def test_whatever_comes_nothing_crashes_and_counts_add_up(
    tmp_path_factory: pytest.TempPathFactory, content: list[bytes]
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    source = drop(folder / "d.jsonl", record(99), *content)
    try:
        batch = run(folder, source)
    except IngestError as no:
        assert "same id" in str(no)
        return
    blank = sum(not line.strip() for line in source.read_bytes().split(b"\n"))
    assert batch.read == source.read_bytes().count(b"\n") + 1 - blank
    parts = (batch.rows, batch.unreadable, batch.without_consent, batch.duplicates)
    assert batch.read == sum(parts)
    assert len(stored(folder, batch)) == batch.rows
    assert len(listed(folder, "unreadable.jsonl")) == batch.unreadable
    assert len(listed(folder, "dropped.jsonl")) == batch.without_consent


def test_a_line_of_50_mb_is_one_unreadable_row(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    with path.open("wb") as file:
        file.write(json.dumps(record(1)).encode() + b"\n")
        file.seek(50_000_000, os.SEEK_CUR)  # a hole: no 50 MB are written
        file.write(b"\n" + json.dumps(record(2)).encode())
    run(tmp_path, drop(tmp_path / "warm.jsonl", record()))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    batch = run(tmp_path, path)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert (batch.read, batch.rows, batch.unreadable) == (3, 2, 1)
    assert listed(tmp_path, "unreadable.jsonl") == [
        {"file": str(path), "line": 2, "reason": "line longer than 4 MB"}
    ]
    assert grown < 30  # MB


def test_a_hostile_row_of_4_mb_costs_little(tmp_path: Path) -> None:
    rows = [
        b'{"messages":[' + b"{}," * 1_300_000 + b"{}]}",
        b'{"id":' + b"[" * 2_000_000,
        b'{"tags":{' + b",".join(b'"k%d":1' % i for i in range(300_000)) + b"}}",
        b"{" + b",".join(b'"k%d":1' % i for i in range(300_000)) + b"}",
    ]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    batch = run(tmp_path, drop(tmp_path / "d.jsonl", record(), *rows))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert (batch.rows, batch.unreadable) == (1, 4)
    assert grown < 600  # MB; pydantic alone takes 3,500 to list every fault
