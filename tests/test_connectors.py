"""Lines and files: one bad row and one bad file for each way to be wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.ingesting import ANSWERED, ASKED, GOOD, SECRET, but, drop, run, without
from tidegate.flows.intake.connectors import jsonl
from tidegate.flows.intake.connectors.rows import IngestError

TEXT = json.dumps(GOOD).encode()

BAD_ROWS = {
    "not JSON": (b'{"id": hunter2', "not JSON at character"),
    "cut off": (TEXT[:-20], "not JSON at character"),
    "a comma too many": (TEXT[:-1] + b",}", "not JSON at character"),
    "two rows in a line": (TEXT + b" " + TEXT, "not JSON at character"),
    "NaN": (TEXT[:-1] + b', "x": NaN}', "not JSON at character"),
    "a number past infinity": (TEXT[:-1] + b', "x": 1e999}', "not JSON at character"),
    "not an object": (b'["hunter2"]', "the line is not a JSON object"),
    "null": (b"null", "the line is not a JSON object"),
    "Latin-1": ('{"id": "h\xe4nter2"}'.encode("latin-1"), "not UTF-8 at byte 10"),
    "half a pair": (TEXT.replace(b"hunter2", b"\\ud83d"), "half of a surrogate pair"),
    "half a pair, raw": (TEXT.replace(b"hunter2", b"\xed\xa0\xbd"), "not UTF-8 at byte"),
    "NUL, escaped": (TEXT.replace(b"hunter2", b"h\\u0000"), "text holds a NUL character"),
    "NUL, raw": (TEXT.replace(b"hunter2", b"h\0"), "not JSON at character"),
    "NUL in a tag": (but(tags={"a\0": "b"}), "text holds a NUL character"),
    "a control character": (TEXT.replace(b"hunter2", b"h\x07"), "not JSON at character"),
    "5,000 brackets": (b'{"id":' + b"[" * 5000 + b"]" * 5000 + b"}", "nested too deeply"),
    "500 brackets": (b'{"id":' + b"[" * 500 + b"]" * 500 + b"}", "nested too deeply"),
    "a key twice": (TEXT[:-1] + b', "id": "b"}', "sets the same key twice"),
    "a key twice, escaped": (
        TEXT[:-1].replace(b"hunter2", b"\\u003a") + b',"\\u0069d":"b"}',
        "sets the same key twice",
    ),
    "a key twice, deeper": (
        TEXT[:-1] + b', "feedback": {"rating": "up", "rating": "down"}}',
        "sets the same key twice",
    ),
    "a huge number": (
        TEXT[:-1] + b', "model": ' + b"9" * 6000 + b"}",
        "not JSON at character",
    ),
    "an unknown field": (but(hunter2=1), "holds a field that a record does not have"),
    "no id": (without("id"), "id: Field required"),
    "no time": (without("time"), "time: Field required"),
    "no user": (without("user"), "user: Field required"),
    "no source": (without("source"), "source: Field required"),
    "no messages": (without("messages"), "messages: Field required"),
    "an empty id": (but(id=""), "id: String should have at least 1 character"),
    "a long id": (but(id=SECRET * 100), "id: String should have at most 256 characters"),
    "a number for an id": (but(id=7), "id: Input should be a valid string"),
    "no zone": (but(time="2026-05-01T00:00:00"), "time: not a time with a zone"),
    "a day for a time": (but(time="2026-05-01"), "time: not a time with a zone"),
    "seconds as text": (but(time="1777593600"), "time: not a time with a zone"),
    "seconds for a time": (but(time=1777593600), "time: Input should be a valid datetime"),
    "the 31st of June": (but(time="2026-06-31T00:00:00Z"), "time: Input should be a valid"),
    "1999": (but(time="1999-12-31T23:59:59Z"), "time: before the year 2000"),
    "1970": (but(time="1970-01-01T00:00:00Z"), "time: before the year 2000"),
    "the day after tomorrow": (but(time="2026-06-02T00:00:01Z"), "a day in the future"),
    "the year 9999": (but(time="9999-12-31T23:59:59-23:00"), "a day in the future"),
    "valid past 9999": (but(valid_until="9999-12-31T23:59:59-01:00"), "outside the years"),
    "valid without zone": (but(valid_from="2026-01-01T00:00:00"), "valid_from: not a time"),
    "consent as text": (but(consent="true"), "consent: Input should be a valid boolean"),
    "consent as a number": (but(consent=1), "consent: Input should be a valid boolean"),
    "no message": (but(messages=[]), "messages: Tuple should have at least 1 item"),
    "messages as text": (but(messages=SECRET), "messages: Input should be a valid array"),
    "a message as text": (but(messages=[SECRET]), "messages.0: not an object of role"),
    "an unknown role": (
        but(messages=[{**ASKED, "role": SECRET}, ANSWERED]),
        "messages.0.role:",
    ),
    "content in parts": (
        but(messages=[ASKED, {**ANSWERED, "content": []}]),
        "messages.1.content",
    ),
    "a message with a name": (
        but(messages=[{**ASKED, SECRET: "x"}]),
        "messages.0: not an object",
    ),
    "the user last": (but(messages=[ANSWERED, ASKED]), "the last message must be"),
    "nobody asked": (but(messages=[ANSWERED]), "there is no user message"),
    "a rating in stars": (but(feedback={"rating": 5}), "feedback.rating: Input should be"),
    "no feedback object": (but(feedback=None), "feedback: Input should be an object"),
    "unknown feedback": (but(feedback={SECRET: 1}), "feedback: holds a field"),
    "a number for a tag": (but(tags={SECRET: 1}), "tags: a value is not text"),
    "tags as a list": (but(tags=[SECRET]), "tags: Input should be an object"),
    "a row of 5 MB": (but(model=SECRET * 700_000), "line longer than 4 MB"),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_a_bad_row_is_listed_with_its_place_and_without_its_text(
    tmp_path: Path, name: str
) -> None:
    bad, reason = BAD_ROWS[name]
    path = drop(tmp_path / "d.jsonl", GOOD, bad)
    batch = run(tmp_path, path)
    assert (batch.read, batch.rows, batch.unreadable) == (2, 1, 1)
    written = (tmp_path / "out" / "unreadable.jsonl").read_text()
    row = json.loads(written)
    assert (row["file"], row["line"]) == (str(path), 2)
    assert reason in row["reason"]
    assert SECRET not in written.replace(str(path), "")


GOOD_ROWS = {
    "escapes": TEXT.replace(b"hunter2", b"a\\u003ab \\\\u0000 \\ud83d\\ude00"),
    "colons": TEXT.replace(b"hunter2", b'a: \\":\\" ::'),
    "Windows line ends": TEXT + b"\r",
    "spaces": b"  " + TEXT.replace(b": ", b"  :\t") + b"  ",
    "an offset": but(time="2026-05-01T02:00:00.123456+02:00"),
    "an hour ahead": but(time="2026-06-01T01:00:00Z"),
    "a byte order mark": b"\xef\xbb\xbf" + TEXT,
    "the very end of time": but(valid_until="9999-12-31T23:59:59Z"),
}


@pytest.mark.parametrize("name", GOOD_ROWS)
def test_a_good_row_is_kept(tmp_path: Path, name: str) -> None:
    batch = run(tmp_path, drop(tmp_path / "d.jsonl", GOOD_ROWS[name]))
    assert (batch.read, batch.rows) == (1, 1)


def test_a_chunk_of_lines_without_end_and_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_bytes(b"\n  \n" + TEXT + b"\n\r\n" + json.dumps(but(id="b")).encode())
    assert [row.line for row in jsonl.rows(path)] == [3, 5]
    assert run(tmp_path, path).rows == 2


def folder(path: Path) -> Path:
    path.mkdir()
    (path / "README.txt").write_text("nothing")
    return path


def made(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


BAD_FILES: dict[str, tuple[Callable[[Path], list[Any]], str]] = {
    "nothing given": (lambda p: [], "no drop was given"),
    "missing": (lambda p: [p / "d.jsonl"], "there is no such file"),
    "no match": (lambda p: [str(p / "*.jsonl")], "there is no such file"),
    "an empty folder": (lambda p: [folder(p / "f")], "the folder holds nothing to read"),
    "an empty file": (lambda p: [made(p / "d.jsonl", b"")], "there is not one row"),
    "blank lines": (lambda p: [made(p / "d.jsonl", b"\n \n")], "there is not one row"),
    "not Parquet": (lambda p: [made(p / "d.parquet", b"hunter2")], "not a whole Parquet file"),
    "Parquet cut off": (
        lambda p: [made(p / "d.parquet", b"PAR1hunter2")],
        "not a whole Parquet",
    ),
    "Parquet as lines": (lambda p: [made(p / "d.jsonl", b"PAR1")], "name it .parquet"),
    "compressed": (lambda p: [made(p / "d.jsonl", b"\x1f\x8b\x08")], "unpack it first"),
    "an array": (lambda p: [made(p / "d.json", b' [{"id": 1}]')], "one object a line"),
    "another kind": (lambda p: [made(p / "d.csv", b"id,hunter2")], "not a kind of file"),
    "a device": (lambda p: ["/dev/null"], "not a regular file"),
    "a read error": (lambda p: ["/proc/self/mem"], "cannot be read"),
    "no experiment": (lambda p: ["mlflow:"], "no experiment is named"),
    "no database": (lambda p: ["mlflow:chats"], "there is no database at"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_says_what_would_do(tmp_path: Path, name: str) -> None:
    make, reason = BAD_FILES[name]
    with pytest.raises(IngestError) as no:
        run(tmp_path, *make(tmp_path))
    assert reason in str(no.value)
    assert SECRET not in str(no.value)


def test_folders_and_globs_are_read_once(tmp_path: Path) -> None:
    drops = tmp_path / "drops"
    (drops / "deep").mkdir(parents=True)
    drop(drops / "a.jsonl", but(id="1"))
    drop(drops / "deep" / "b.ndjson", but(id="2"))
    pq.write_table(pa.Table.from_pylist([but(id="3")]), drops / "deep" / "c.parquet")
    (drops / "notes.txt").write_text("not a drop")
    batch = run(
        tmp_path, drops, str(drops / "*.jsonl"), drops / "a.jsonl", str(drops / "**/*.*l*")
    )
    assert (batch.read, batch.rows, batch.duplicates) == (3, 3, 0)
