"""From records to tokens: what the model reads, and from where on it learns.

A row is one conversation through the base's own chat template. Only the last answer is
learned, up to and including the token that ends the turn. Prompt and answer are tokenised
apart, as they are when the model serves: it sees the prompt's tokens, then its own.

Not trained on, and counted by reason: answers that the user rejected (`learn` is
"negative"), answers that do not fit, conversations that the template refuses, and texts
that contain one of the tokenizer's control tokens, with which an author could write turns
in another role's name.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from jinja2 import TemplateError
from torch import Tensor

from tidegate.training.losses import TopK

COLUMNS = ("id", "messages", "response", "learn")
LANGUAGE, UNTIL = "language", "valid_until"  # read where a file has them


class RowsError(ValueError):
    """A file of rows that cannot be trusted to say what is to be learned."""


@dataclass(frozen=True)
class Row:
    """One conversation as tokens; from `start` on they are the answer that is learned."""

    id: str
    ids: tuple[int, ...]
    start: int
    teacher: TopK | None = None  # what an earlier model says at each token of the answer
    other: "Row | None" = None  # the answer that a preference compares this one with
    wanted: bool = True  # of a rating
    reference: float | None = None  # log-likelihood of the answer under the base, nats
    advantage: float | None = None  # of an answer over the others to its question
    old_policy: Tensor | None = None  # log p of each token of it by who wrote it, nats
    of: tuple[str, ...] = ()  # the rows that it was made from (expand.py)

    @property
    def tokens(self) -> int:
        """With the answer that it is compared with: the two are never in different packs."""
        return len(self.ids) + (self.other.tokens if self.other else 0)

    @property
    def answer_tokens(self) -> int:
        return len(self.ids) - self.start


@dataclass(frozen=True)
class Rows:
    """The rows of a file that can be learned, and how many could not, by reason."""

    rows: tuple[Row, ...] = ()
    skipped: Counter[str] = field(default_factory=Counter)
    truncated: int = 0
    written: Counter[str] = field(default_factory=Counter)  # of rollouts: how they came to be


def read_rows(path: Path, tokenizer: Any, max_tokens: int) -> Rows:
    """Tokenise a Parquet file of records, in its own order. Raises RowsError."""
    control = control_tokens(tokenizer)
    rows: list[Row] = []
    skipped: Counter[str] = Counter()
    truncated = 0
    for record in read_records(path):
        if record["learn"] == "negative":
            skipped["negative"] += 1
            continue
        made = to_row(record, tokenizer, max_tokens, control)
        if isinstance(made, str):
            skipped[made] += 1
            continue
        row, cut = made
        rows.append(row)
        truncated += cut
    return Rows(tuple(rows), skipped, truncated)


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a Parquet file, in its own order, as COLUMNS, and what is there of
    LANGUAGE and UNTIL.

    Raises RowsError.
    """
    try:
        file = pq.ParquetFile(path)
    except pa.ArrowException as error:
        raise RowsError(f"{path}: not a Parquet file ({type(error).__name__})") from None
    missing = [name for name in COLUMNS if name not in file.schema_arrow.names]
    if missing:
        raise RowsError(f"{path}: there is no column {missing[0]!r}; expected {COLUMNS}")
    columns = [name for name in (*COLUMNS, LANGUAGE, UNTIL) if name in file.schema_arrow.names]
    for batch in file.iter_batches(batch_size=4096, columns=columns):
        for record in batch.to_pylist():
            if record["learn"] not in ("target", "negative"):
                raise RowsError(
                    f"{path}: row {record['id']!r}: learn must be target or negative"
                )
            yield record


def to_row(
    record: dict[str, Any], tokenizer: Any, max_tokens: int, control: tuple[str, ...]
) -> tuple[Row, bool] | str:
    """The row and whether its prompt was cut, or the reason why there is none.

    A prompt that is too long loses its beginning; an answer is never cut.
    """
    answer = record["response"]
    messages = [{"role": m["role"], "content": m["content"]} for m in record["messages"][:-1]]
    if not answer:
        return "empty answer"
    if any(
        token in text
        for text in (answer, *(m["content"] for m in messages))
        for token in control
    ):
        return "control tokens in the text"
    asked = ask(messages, tokenizer)
    whole = render([*messages, {"role": "assistant", "content": answer}], tokenizer)
    if asked is None or whole is None or not whole.startswith(asked):
        return "refused by the chat template"
    prompt = encode(asked, tokenizer)
    reply = until_end_of_turn(encode(whole[len(asked) :], tokenizer), tokenizer)
    room = max_tokens - len(reply)
    if room < 1:  # the answer's first token is predicted from at least one of the prompt's
        return "answer longer than max_tokens"
    cut = len(prompt) > room
    prompt = prompt[-room:]
    return Row(record["id"], (*prompt, *reply), len(prompt)), cut


def control_tokens(tokenizer: Any) -> tuple[str, ...]:
    """The texts that the tokenizer reads as structure rather than as text."""
    added = (t.content for t in tokenizer.added_tokens_decoder.values() if t.special)
    return tuple(sorted({*tokenizer.all_special_tokens, *added}))


def ask(messages: list[dict[str, str]], tokenizer: Any) -> str | None:
    """The text after which the model answers; None if the template refuses the messages."""
    return render(messages, tokenizer, add_generation_prompt=True)


def render(messages: list[dict[str, str]], tokenizer: Any, **kwargs: Any) -> str | None:
    try:
        return str(tokenizer.apply_chat_template(messages, tokenize=False, **kwargs))
    except TemplateError:
        return None


def encode(text: str, tokenizer: Any) -> list[int]:
    # The template has already written the tokens that begin a text.
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def until_end_of_turn(reply: list[int], tokenizer: Any) -> list[int]:
    """Without what the template writes after the end of the turn: nobody generates that."""
    end = tokenizer.eos_token_id
    return reply[: len(reply) - reply[::-1].index(end)] if end in reply else reply
