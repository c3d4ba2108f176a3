"""Ingest: every row ends in exactly one place, and the batch is named by what is in it."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.ingesting import KEY, NOW, drop, listed, record, run, stored
from tidegate.flows.home import Home
from tidegate.flows.ingest import IngestError, ingest
from tidegate.flows.intake.batches import (
    SCHEMA,
    batch_digest,
    load_batch,
    row_digest,
    write_records,
)
from tidegate.flows.intake.pseudonym import pseudonym, pseudonym_key
from tidegate.flows.intake.sorting import SortedRuns
from tidegate.gates.digest import canonical
from tidegate.gates.types import Progress

HERE = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


def test_a_record_becomes_a_row_of_the_contract(tmp_path: Path) -> None:
    full = record(
        feedback={"rating": "down", "correction": "better", "comment": "wrong"},
        model="m@1",
        language="en",
        tags={"b": "2", "a": "1"},
        valid_from="2026-01-01T01:00:00+01:00",
        time="2026-05-01T14:00:00.5+02:00",
    )
    batch = run(tmp_path, drop(tmp_path / "d.jsonl", full))
    path = Home(tmp_path / "home").batch(batch.digest) / "records.parquet"
    assert pq.read_schema(path).equals(SCHEMA)
    assert stored(tmp_path, batch) == [
        {
            "id": "r0",
            "time": datetime(2026, 5, 1, 12, 0, 0, 500_000, tzinfo=UTC),
            "source": "chat",
            "user": pseudonym(KEY, "alice0"),
            "messages": full["messages"],
            "rating": "down",
            "correction": "better",
            "comment": "wrong",
            "model": "m@1",
            "language": "en",
            "tags": '{"a":"1","b":"2"}',
            "valid_from": datetime(2026, 1, 1, tzinfo=UTC),
            "valid_until": None,
            "signature": None,
            "prompt": "user: question 0",
            "response": "better",
            "learn": "target",
        }
    ]
    assert batch.first == batch.last == datetime(2026, 5, 1, 12, 0, 0, 500_000, tzinfo=UTC)
    assert load_batch(Home(tmp_path / "home"), batch.digest, thorough=True) == batch
    assert b"alice" not in b"".join(
        p.read_bytes() for p in tmp_path.rglob("*") if p.is_file() and p.name != "d.jsonl"
    )


@pytest.mark.parametrize(
    ("feedback", "learn", "response"),
    [
        ({}, "target", "answer 0"),
        ({"rating": "up"}, "target", "answer 0"),
        ({"rating": "down"}, "negative", "answer 0"),
        ({"rating": "down", "correction": "better"}, "target", "better"),
        ({"rating": "up", "correction": "better"}, "target", "better"),
        ({"rating": "down", "correction": " \n"}, "negative", "answer 0"),
        ({"correction": ""}, "target", "answer 0"),
    ],
)
def test_feedback_says_what_is_learned(
    tmp_path: Path, feedback: dict[str, str], learn: str, response: str
) -> None:
    batch = run(tmp_path, drop(tmp_path / "d.jsonl", record(feedback=feedback)))
    (row,) = stored(tmp_path, batch)
    assert (row["learn"], row["response"]) == (learn, response)


def test_without_consent_nothing_is_kept_but_the_id(tmp_path: Path) -> None:
    silent = record(2)
    del silent["consent"]
    rows = [record(1), record(0, consent=False), silent, record(3, consent=None)]
    batch = run(tmp_path, drop(tmp_path / "d.jsonl", *rows))
    assert (batch.read, batch.rows, batch.without_consent) == (4, 1, 3)
    assert listed(tmp_path, "dropped.jsonl") == [
        {"id": i, "gate": "has_consent", "detail": "no consent"} for i in ("r0", "r2", "r3")
    ]
    assert [row["id"] for row in stored(tmp_path, batch)] == ["r1"]


def test_the_same_content_again_is_a_duplicate(tmp_path: Path) -> None:
    rows = [record(1), record(2, consent=False), record(1), record(2, consent=False)]
    other = [record(1, tags={}, feedback={"rating": None}), record(3)]
    batch = run(tmp_path, drop(tmp_path / "a.jsonl", *rows), drop(tmp_path / "b.jsonl", *other))
    counts = (batch.read, batch.rows, batch.without_consent, batch.duplicates)
    assert counts == (6, 2, 1, 3)


@pytest.mark.parametrize(
    "change",
    [{"model": "other"}, {"consent": False}, {"user": "bob"}, {"time": "2026-05-01T12:00:01Z"}],
)
def test_the_same_id_with_other_content_names_both_places(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    a = drop(tmp_path / "a.jsonl", record(5), record(1), record(2))
    b = drop(tmp_path / "b.jsonl", b"", record(1, **change), record(7))
    with pytest.raises(IngestError) as no:
        run(tmp_path, a, b)
    assert f"{a}:2 and {b}:2: the same id" in str(no.value)
    assert not (tmp_path / "out" / "dropped.jsonl").exists()
    assert not list((tmp_path / "out").iterdir())
    assert not (tmp_path / "home" / "batches").exists()


def test_ids_meet_across_runs_on_disk(tmp_path: Path) -> None:
    """Runs of any size merge into the same rows, however ids are spread over them."""
    names = [f"i{n * 37 % 101:03d}" for n in range(101)]
    runs = SortedRuns(tmp_path)
    for start in range(0, 101, 9):
        part = [*names[start : start + 9], names[0]]
        columns = {
            "id": part,
            "digest": [name.encode().ljust(32) for name in part],
            "file": [0] * len(part),
            "line": list(range(len(part))),
        }
        runs.add(pa.table(columns))
    merged = [i for table in runs.merged() for i in table["id"].to_pylist()]
    assert merged == sorted(set(names))
    assert runs.duplicates == 12


@HERE
@given(data=st.data())
def test_neither_order_nor_files_change_the_batch(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("order")
    text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
    rows = [
        record(i, source=data.draw(text) or "s", feedback={"correction": data.draw(text)})
        for i in range(data.draw(st.integers(1, 12)))
    ]
    first = run(folder, drop(folder / "one.jsonl", *rows))
    again = data.draw(st.permutations([*rows, *rows[:2]]))
    cut = data.draw(st.integers(0, len(again)))
    parts = [
        drop(folder / f"{n}.jsonl", *part) for n, part in enumerate((again[:cut], again[cut:]))
    ]
    second = run(folder, *parts)
    assert second.digest == first.digest
    assert second.rows == first.rows == len(rows)
    other = run(folder, drop(folder / "other.jsonl", *rows[1:], record(0, model="x")))
    assert other.digest != first.digest


@given(rows=st.lists(st.binary(min_size=32, max_size=32), max_size=50))
def test_the_digest_is_of_the_sorted_rows(rows: list[bytes]) -> None:
    import hashlib

    expected = hashlib.sha256(b"tidegate batch 1\n" + b"".join(sorted(rows))).hexdigest()
    assert batch_digest(b"".join(rows)) == "sha256:" + expected


@given(
    st.recursive(
        st.none() | st.integers(-(2**53), 2**53) | st.text(st.characters(codec="utf-8")),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
        ),
    )
)
def test_the_fast_canonical_form_is_the_canonical_form(value: Any) -> None:
    assert orjson.dumps(value, option=orjson.OPT_SORT_KEYS) == canonical(value)
    assert len(row_digest({"x": value})) == 32


def test_an_existing_batch_is_reused_only_if_it_is_intact(tmp_path: Path) -> None:
    source = drop(tmp_path / "d.jsonl", *[record(i) for i in range(5)])
    first = run(tmp_path, source)
    path = Home(tmp_path / "home").batch(first.digest) / "records.parquet"
    before = path.stat()
    assert run(tmp_path, source) == first
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    table = pq.read_table(path)
    answers = pa.array(["forged"] * 5)
    forged = table.set_column(table.schema.get_field_index("model"), "model", answers)
    pq.write_table(forged, path)
    with pytest.raises(IngestError, match="changed or damaged"):
        run(tmp_path, source)
    path.write_bytes(b"PAR1 no more")
    with pytest.raises(IngestError, match="changed or damaged"):
        run(tmp_path, source)


def test_what_a_killed_run_left_behind_is_removed(tmp_path: Path) -> None:
    left = tmp_path / "home" / "work" / "123-dead"
    left.mkdir(parents=True)
    (left / "text").write_text("of users")
    run(tmp_path, drop(tmp_path / "d.jsonl", record()))
    assert [p.name for p in (tmp_path / "home" / "work").iterdir()] == ["door.lock"]


def test_nothing_consented_is_an_empty_batch(tmp_path: Path) -> None:
    batch = run(tmp_path, drop(tmp_path / "d.jsonl", record(consent=False), b"{"))
    assert (batch.rows, batch.read, batch.first) == (0, 2, None)
    assert stored(tmp_path, batch) == []
    assert load_batch(Home(tmp_path / "home"), batch.digest, thorough=True).rows == 0


def test_progress_is_reported(tmp_path: Path) -> None:
    seen: list[Progress] = []
    run(tmp_path, drop(tmp_path / "d.jsonl", record(), record(1)), progress=seen.append)
    assert seen[0] == Progress("ingest", 2, 2, "rows")
    assert seen[-1] == Progress("sort", 2, None, "records")


def test_a_row_group_has_at_most_65536_rows(tmp_path: Path) -> None:
    ids = [f"{i:07d}" for i in range(150_000)]
    nothing = {name: pa.nulls(len(ids), SCHEMA.field(name).type) for name in SCHEMA.names}
    table = pa.table({**nothing, "id": ids}, schema=SCHEMA)
    for length in (1_000, 70_000, 150_000):
        tables = [table.slice(start, length) for start in range(0, len(ids), length)]
        write_records(tmp_path / "r.parquet", tables)
        with pq.ParquetFile(tmp_path / "r.parquet") as file:
            groups = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
            assert groups == [65_536, 65_536, 18_928]
            assert file.read(columns=["id"])["id"].to_pylist() == ids


def test_a_folder_that_cannot_be_made_says_what_would_do(tmp_path: Path) -> None:
    source = drop(tmp_path / "d.jsonl", record())
    (tmp_path / "file").write_text("in the way")
    for home, out in (("file", "out"), ("home", "file")):
        with pytest.raises(IngestError, match=r"file.*: cannot be written .*folder"):
            ingest(
                [source],
                home=Home(tmp_path / home / "h"),
                out=tmp_path / out / "o",
                pseudonym_key=KEY,
                now=NOW,
            )


def test_a_full_disk_leaves_no_batch(tmp_path: Path) -> None:
    """The limit on the size of files stands for the disk: it fails in the same calls."""
    source = drop(
        tmp_path / "d.jsonl",
        *[record(i, model=os.urandom(2000).hex()) for i in range(200)],
    )
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from tidegate.flows.home import Home\n"
        "from tidegate.flows.ingest import IngestError, ingest\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "folder = Path(sys.argv[1])\n"
        "try:\n"
        "    ingest([folder / 'd.jsonl'], home=Home(folder / 'home'), out=folder / 'out',\n"
        "           pseudonym_key=b'k' * 32)\n"
        "except IngestError as no:\n"
        "    print(no)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "cannot be written" in done.stdout and "limit on the size of files" in done.stdout
    assert source.exists() and not (tmp_path / "home" / "batches").exists()
    assert not list((tmp_path / "out").iterdir())


def test_the_key_is_private_and_stays(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    key = pseudonym_key(home)
    assert len(key) == 32 and pseudonym_key(home) == key
    (path,) = home.keys.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600 and home.keys.stat().st_mode & 0o777 == 0o700
    assert pseudonym_key(Home(tmp_path / "other")) != key
    path.chmod(0o644)
    with pytest.raises(IngestError, match="chmod 600"):
        pseudonym_key(home)
    path.chmod(0o600)
    path.write_bytes(b"short")
    with pytest.raises(IngestError, match="32 bytes is needed"):
        pseudonym_key(home)


def test_a_pseudonym_depends_on_user_and_key() -> None:
    name = pseudonym(KEY, "alice")
    assert name == pseudonym(KEY, "alice") and len(name) == 26 and name.startswith("u_")
    assert len({name, pseudonym(KEY, "Alice"), pseudonym(bytes(32), "alice")}) == 3
