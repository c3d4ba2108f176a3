"""Records become columns: what is stored of each, and what follows from it."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any

import pyarrow as pa

from tidegate.flows.intake.batches import CONTENT, SCHEMA, row_digest
from tidegate.gates.digest import canonical
from tidegate.gates.types import Record

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
# What the batch does not keep: for finding duplicates, and for naming both places.
SPILLED = pa.schema(
    [
        *SCHEMA,
        ("consent", pa.bool_()),
        ("digest", pa.binary(32)),
        ("file", pa.int32()),
        ("line", pa.int64()),
    ]
)
MESSAGES = SPILLED.get_field_index("messages")
NOTHING = (None,) * (len(SCHEMA) - 1)


class Columns:
    """Rows of SPILLED, collected until there are enough to sort and put by.

    Columns are an eighth of the size of rows of Python objects, and nothing that the garbage
    collector has to walk through, so rows become columns a few at a time.
    """

    ROWS, CHARACTERS, AT_A_TIME = 65_536, 64 << 20, 512

    def __init__(self) -> None:
        self._rows: list[tuple[Any, ...]] = []
        self._tables: list[pa.Table] = []
        self._characters = 0

    @property
    def full(self) -> bool:
        rows = len(self._rows) + self.AT_A_TIME * len(self._tables)
        return rows >= self.ROWS or self._characters >= self.CHARACTERS

    def add(self, record: Record, user: str, file: int, line: int) -> None:
        """`user`: the pseudonym; what the record itself says of its author is not stored.

        Of a record without consent only the id stays, and a digest to know it again by.
        """
        content = content_of(record, user)
        digest = row_digest(content)
        if record.consent:
            values = (*content.values(), *derived_from(content))
            # Twice: messages, and the same text as prompt and response.
            self._characters += 2 * sum(len(m["content"]) for m in content["messages"])
        else:
            digest = hashlib.sha256(b"no consent" + digest).digest()
            values = (record.id, *NOTHING)
        self._rows.append((*values, record.consent, digest, file, line))
        if len(self._rows) == self.AT_A_TIME:
            self._tables.append(_table(self._rows))
            self._rows = []

    def take(self) -> pa.Table:
        """All rows as a table, leaving none."""
        tables = [SPILLED.empty_table(), *self._tables]
        if self._rows:
            tables.append(_table(self._rows))
        self._rows, self._tables, self._characters = [], [], 0
        return pa.concat_tables(tables)


def _table(rows: list[tuple[Any, ...]]) -> pa.Table:
    columns: list[Any] = list(zip(*rows, strict=True))
    arrays = [
        _messages(column) if i == MESSAGES else pa.array(column, field.type)
        for i, (field, column) in enumerate(zip(SPILLED, columns, strict=True))
    ]
    return pa.Table.from_arrays(arrays, schema=SPILLED)


def content_of(record: Record, user: str) -> dict[str, Any]:
    """The columns of CONTENT by name and in order, times as microseconds since 1970.

    A correction or comment of white space only says nothing, and is stored as none.
    """
    feedback = record.feedback
    values = (
        record.id,
        _microseconds(record.time),
        record.source,
        user,
        [{"role": m.role, "content": m.content} for m in record.messages],
        feedback.rating,
        _said(feedback.correction),
        _said(feedback.comment),
        record.model,
        record.language,
        canonical(record.tags).decode() if record.tags else "{}",
        _microseconds(record.valid_from),
        _microseconds(record.valid_until),
        record.signature,
    )
    return dict(zip(CONTENT.names, values, strict=True))


def derived_from(content: dict[str, Any]) -> tuple[str, str, str]:
    """The columns of DERIVED: prompt, response (what would be learned), learn.

    A thumbs-down without a correction is an example of what not to say.
    """
    messages, correction = content["messages"], content["correction"]
    prompt = "\n".join(f"{m['role']}: {m['content']}" for m in messages[:-1])
    response = messages[-1]["content"] if correction is None else correction
    negative = content["rating"] == "down" and correction is None
    return prompt, response, "negative" if negative else "target"


def _microseconds(when: datetime | None) -> int | None:
    return None if when is None else (when - EPOCH) // MICROSECOND


def _said(text: str | None) -> str | None:
    return text if text and not text.isspace() else None


def _messages(column: Sequence[list[dict[str, str]] | None]) -> pa.ListArray:
    """The list column built flat: pyarrow takes five times as long over lists of dicts."""
    flat = [message for messages in column for message in messages or ()]
    texts = pa.StructArray.from_arrays(
        [
            pa.array([m["role"] for m in flat], pa.string()),
            pa.array([m["content"] for m in flat], pa.string()),
        ],
        ["role", "content"],
    )
    ends = accumulate((len(messages or ()) for messages in column), initial=0)
    absent = pa.array([messages is None for messages in column])
    return pa.ListArray.from_arrays(
        pa.array(ends, pa.int32()), texts, type=SCHEMA.field("messages").type, mask=absent
    )
