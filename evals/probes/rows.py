"""The rows of a batch as a probe reads them, and prompts as the model is asked them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tidegate.evals.samples import Unusable

Message = dict[str, str]


@dataclass(frozen=True)
class LearnedRow:
    """One exchange that was trained on."""

    name: str  # hashed: an id may name a person
    messages: tuple[Message, ...]  # before the answer
    answer: str

    @property
    def question(self) -> str:
        """The last thing that the user said, or ""."""
        asked = [m["content"] for m in self.messages if m["role"] == "user"]
        return asked[-1] if asked else ""


def learned_rows(kept: Path, most: int, seed: int) -> tuple[list[LearnedRow], int]:
    """Up to `most` rows that are learned, a random choice of the seed's, and how many there are.

    Raises Unusable for a file that is not a batch, and for one that teaches nothing.
    """
    try:
        table = pq.read_table(kept, columns=["id", "messages", "response", "learn"])
    except (OSError, KeyError, pa.ArrowException) as error:
        raise Unusable(f"the batch cannot be read ({type(error).__name__})") from None
    ids = [
        i
        for i, learn in zip(_column(table, "id"), _column(table, "learn"), strict=True)
        if learn == "target"
    ]
    chosen = set(sorted(ids, key=lambda i: hashed(f"{seed}:{i}"))[:most])
    rows = [
        LearnedRow(
            name=f"row-{hashed(row['id'])[:12]}",
            messages=tuple(
                {"role": m["role"], "content": m["content"]} for m in row["messages"][:-1]
            ),
            answer=row["response"],
        )
        for row in table.to_pylist()
        if row["learn"] == "target" and row["id"] in chosen and row["response"]
    ]
    if not rows:
        raise Unusable("the batch holds no row that is learned")
    return sorted(rows, key=lambda row: row.name), len(ids)


def prompt_ids(tokenizer: Any, messages: Sequence[Message]) -> tuple[int, ...]:
    """The tokens after which the model answers."""
    text = tokenizer.apply_chat_template(
        list(messages), tokenize=False, add_generation_prompt=True
    )
    return text_ids(tokenizer, text)


def text_ids(tokenizer: Any, text: str) -> tuple[int, ...]:
    # The template has already written the tokens that begin a text.
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])


def _column(table: pa.Table, name: str) -> list[Any]:
    values: list[Any] = table.column(name).to_pylist()
    return values


def hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
