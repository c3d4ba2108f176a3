"""What is looked up instead of learned: routing, the store, and its command line."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tidegate.flows.cli import app
from tidegate.flows.context.route import Routed, route
from tidegate.flows.context.store import Entry, entries, put, query
from tidegate.flows.home import Home
from tidegate.flows.usage import UsageError

BATCH = "sha256:" + "a" * 64
NOW = datetime(2026, 3, 1, tzinfo=UTC)
LATER = datetime(2026, 9, 1, tzinfo=UTC)


def row(name: str, answer: str, until: datetime | None = None, learn: str = "target") -> Any:
    return {
        "id": name,
        "messages": [
            {"role": "user", "content": f"Tell me about {name}."},
            {"role": "assistant", "content": answer},
        ],
        "response": answer,
        "learn": learn,
        "valid_from": None,
        "valid_until": until,
    }


def kept(folder: Path, *rows: Any) -> Path:
    path = folder / "kept.parquet"
    stamp = pa.timestamp("us", tz="UTC")
    table = pa.Table.from_pylist(list(rows))
    for name in ("valid_from", "valid_until"):
        at = table.schema.get_field_index(name)
        table = table.set_column(at, name, pa.array(table[name].to_pylist(), stamp))
    pq.write_table(table, path)
    return path


def test_dated_and_volatile_records_are_not_learned(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    path = kept(
        tmp_path,
        row("plain", "Water boils at a hundred degrees."),
        row("dated", "The depot opens at nine.", LATER),
        row("spoken", "The office is closed today."),
        row("todayish", "A holidaymaker asked about Todaysville."),
        row("other", "Closed today.", learn="no"),
    )
    first = route(home, BATCH, path, tmp_path / "learnable.parquet", time=True, later={})
    assert first.routed == Routed(kept=5, dated=1, volatile=1)
    assert first.routed.learned == 3
    share = first.routed.measurement()
    assert (share.value, share.n) == (0.4, 5)
    assert pq.read_table(first.kept)["id"].to_pylist() == ["plain", "todayish", "other"]
    before = [(e.id, e.why) for _, e in entries(home)]
    assert before == [("dated", "dated"), ("spoken", "volatile")]
    assert (
        route(home, BATCH, path, tmp_path / "learnable.parquet", time=True, later={}) == first
    )
    assert [(e.id, e.why) for _, e in entries(home)] == before, "nothing twice"


def entry(name: str, question: str, until: datetime | None = None) -> Entry:
    return Entry(
        id=name,
        question=question,
        answer=f"Answer {name}.",
        valid_from=None,
        valid_until=until,
        why="dated" if until else "volatile",
    )


@pytest.fixture
def home(tmp_path: Path) -> Home:
    place = Home(tmp_path / "home")
    put(place, BATCH, [entry("a", "When is the depot open?", LATER), entry("b", "Depot fee?")])
    return place


@pytest.mark.parametrize(
    ("text", "at", "found"),
    [
        ("depot open", NOW, ["a", "b"]),
        ("depot open", LATER, ["b"]),  # a has expired
        ("DEPOT", NOW, ["b", "a"]),
        ("harbour", NOW, []),
        ('" OR entry MATCH * NEAR(depot -fee', NOW, ["b", "a"]),
    ],
)
def test_a_question_finds_what_is_valid(
    home: Home, text: str, at: datetime, found: list[str]
) -> None:
    assert [hit.entry.id for hit in query(home, text, at)] == found


def test_the_index_follows_the_files(home: Home) -> None:
    assert len(query(home, "depot", NOW)) == 2
    put(home, "sha256:" + "b" * 64, [entry("c", "Depot keys?")])
    assert len(query(home, "depot", NOW)) == 3
    put(home, BATCH, [])
    assert [hit.entry.id for hit in query(home, "depot", NOW)] == ["c"]
    (home.cache / "context.db").write_bytes(b"torn")
    assert [hit.entry.id for hit in query(home, "depot", NOW)] == ["c"]


def test_a_damaged_store_is_named(home: Home) -> None:
    path = next(home.root.glob("context/*.jsonl"))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UsageError, match="not an entry of a context store"):
        query(home, "depot", NOW)
    with pytest.raises(UsageError, match="no word in the question"):
        query(home, "?!", NOW)


def test_the_command_line_lists_and_queries(home: Home) -> None:
    run = CliRunner().invoke
    listed = json.loads(
        run(app, ["context", "list", "--home", str(home.root), "--json"]).stdout
    )
    assert [(one["entries"], one["dated"], one["volatile"]) for one in listed] == [(2, 1, 1)]
    said = run(app, ["context", "list", "--home", str(home.root)]).stdout
    assert "depot" not in said.lower(), "never text"
    asked = ["context", "query", "depot open", "--at", "2026-03-01", "--home", str(home.root)]
    assert "Answer a." in run(app, asked).stdout
    hits = json.loads(run(app, [*asked, "--json"]).stdout)
    assert [hit["entry"]["id"] for hit in hits] == ["a", "b"]
