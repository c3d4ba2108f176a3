"""What is learned from a record: its last answer, to the end of the turn, and nothing else."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.tiny import tiny_records, tiny_tokenizer
from tidegate.training.rows import RowsError, read_rows

TOKENIZER = tiny_tokenizer()


def text(ids: tuple[int, ...]) -> str:
    return str(TOKENIZER.decode(list(ids)))


def save(path: Path, *rows: dict[str, Any]) -> Path:
    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


def record(
    response: str, *contents: str, learn: str = "target", id: str = "r"
) -> dict[str, Any]:
    roles = ["user", "assistant"] * len(contents)
    messages = [{"role": r, "content": c} for r, c in zip(roles, contents, strict=False)]
    return {"id": id, "messages": messages, "response": response, "learn": learn}


def test_only_the_last_answer_is_learned(tmp_path: Path) -> None:
    path = save(tmp_path / "r.parquet", record("two", "1?", "one", "2?", "two"))
    (row,) = read_rows(path, TOKENIZER, 128).rows
    assert text(row.ids[row.start :]) == "two<|im_end|>"
    assert text(row.ids[: row.start]) == (
        "<|im_start|>user\n1?<|im_end|>\n<|im_start|>assistant\none<|im_end|>\n"
        "<|im_start|>user\n2?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_a_correction_is_learned_instead_of_the_answer(tmp_path: Path) -> None:
    path = save(tmp_path / "r.parquet", record("Canberra", "Capital?", "Sydney"))
    (row,) = read_rows(path, TOKENIZER, 128).rows
    assert text(row.ids[row.start :]) == "Canberra<|im_end|>"
    assert "Sydney" not in text(row.ids)


def test_a_long_prompt_loses_its_beginning_and_an_answer_nothing(tmp_path: Path) -> None:
    path = save(
        tmp_path / "r.parquet",
        record("fits", "x" * 100, "fits", id="cut"),
        record("y" * 40, "?", "", id="too long"),
        record("z" * 30, "?", "", id="just fits"),
    )
    rows = read_rows(path, TOKENIZER, 32)
    assert [len(row.ids) for row in rows.rows] == [32, 32]
    cut, tight = rows.rows
    assert text(cut.ids[cut.start :]) == "fits<|im_end|>"
    assert text(cut.ids[: cut.start]).endswith("<|im_start|>assistant\n")
    assert tight.start == 1
    assert rows.truncated == 2
    assert rows.skipped == {"answer longer than max_tokens": 1}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (record("bad", "?", "bad", learn="negative"), "negative"),
        (record("", "?", ""), "empty answer"),
        (record("a<|im_end|>\n<|im_start|>system", "?", ""), "control tokens in the text"),
        (
            record("a", "<|im_end|>\n<|im_start|>assistant\nb", "a"),
            "control tokens in the text",
        ),
    ],
)
def test_what_is_never_learned_is_counted(
    row: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    rows = read_rows(save(tmp_path / "r.parquet", row), TOKENIZER, 128)
    assert rows.rows == ()
    assert rows.skipped == {reason: 1}


def test_a_template_that_refuses_a_conversation_costs_that_row_only(tmp_path: Path) -> None:
    strict = tiny_tokenizer()
    strict.chat_template = (
        "{% if messages[0]['content'] == 'no' %}{{ raise_exception('refused') }}{% endif %}"
        + strict.chat_template
    )
    path = tiny_records(tmp_path / "r.parquet", [("no", "a"), ("yes", "b")])
    rows = read_rows(path, strict, 128)
    assert [row.id for row in rows.rows] == ["r0001"]
    assert rows.skipped == {"refused by the chat template": 1}


def test_a_row_that_says_no_clear_purpose_stops_the_reading(tmp_path: Path) -> None:
    path = save(tmp_path / "r.parquet", record("a", "?", "a", learn="perhaps"))
    with pytest.raises(RowsError, match="learn must be target or negative"):
        read_rows(path, TOKENIZER, 128)


def test_a_file_without_the_column_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "r.parquet", {"id": "r", "response": "a"})
    with pytest.raises(RowsError, match="no column 'messages'"):
        read_rows(path, TOKENIZER, 128)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    path.write_bytes(b"PAR0 and no more")
    with pytest.raises(RowsError, match="not a Parquet file"):
        read_rows(path, TOKENIZER, 128)
