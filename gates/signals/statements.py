"""What each record states: its question as a set of words, its answer as a set of key tokens.

All are keyed hashes, so neither a stored part nor what is held of earlier batches is a text.
The question is the last turn of the user; a record with other turns before it is compared
only with records that have the same ones.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidegate.gates.signals import key_tokens
from tidegate.gates.signals.key_tokens import Token
from tidegate.gates.signals.prints import hashes, normalised
from tidegate.gates.signals.text import LIMIT, joined_text

KIND = np.uint64(3)


@dataclass(frozen=True)
class Ragged:
    """Sets of numbers: row i is values[starts[i]:starts[i + 1]], sorted."""

    values: np.ndarray  # uint64
    starts: np.ndarray  # int64 [n + 1]

    def row(self, i: int) -> np.ndarray:
        return self.values[self.starts[i] : self.starts[i + 1]]

    def take(self, rows: np.ndarray) -> "Ragged":
        found = [self.row(int(i)) for i in rows]
        starts = np.concatenate(([0], np.cumsum([len(row) for row in found], dtype=np.int64)))
        return Ragged(np.concatenate([np.empty(0, np.uint64), *found]), starts)


@dataclass(frozen=True)
class Statements:
    """One row a record."""

    asked: Ragged  # the words of the question
    apart: np.ndarray  # uint64: numbers and dates of the question, its no, the turns before it
    units: Ragged  # kind and unit of the answer's key tokens; the kind in the bits of KIND
    tokens: Ragged  # kind, unit and value, in the order of `units`
    words: Ragged  # the words of the answer
    names: Ragged  # of the words of both, those that are names
    leads: np.ndarray  # int8: 1 begins with a yes, -1 with a no
    negated: np.ndarray  # bool
    author: np.ndarray  # uint64
    # int64, microseconds since 1970: from when it holds, else when it was said.
    time: np.ndarray
    dated: np.ndarray  # bool: it says from when it holds
    taught: np.ndarray  # bool: the answer would be learned, and there is a question
    examined: np.ndarray  # bool: not too long

    @property
    def rows(self) -> int:
        return len(self.apart)

    def of(self, rows: np.ndarray) -> "Statements":
        """Those of some records. rows: booleans or places."""
        at = np.flatnonzero(rows) if rows.dtype == bool else rows
        columns: dict[str, Any] = {
            field.name: column.take(at) if isinstance(column, Ragged) else column[at]
            for field in fields(self)
            for column in [getattr(self, field.name)]
        }
        return Statements(**columns)

    @classmethod
    def take(cls, table: pa.Table, key: str) -> "Statements":
        """Of a chunk of records. `key` has 16 characters."""
        size = pc.binary_length(joined_text(table)).to_numpy(zero_copy_only=False)
        examined = size <= LIMIT
        asked: list[list[str]] = []
        apart: list[str] = []
        tokens: list[list[Token]] = []
        words: list[list[str]] = []
        names: list[list[str]] = []
        leads: list[int] = []
        negated: list[bool] = []
        answers = table["response"].to_pylist()
        questions, before = _asked(table["messages"].to_pylist())
        for i, question in enumerate(questions):
            question = key_tokens.plain(question if examined[i] else "")
            answer = key_tokens.plain(answers[i] or "") if examined[i] else ""
            said = key_tokens.key_tokens(question)
            fixed = sorted(t for t in said if t.kind != key_tokens.NAME)
            apart.append(f"{fixed} {key_tokens.is_negated(question)} {before[i]}")
            asked.append(sorted(key_tokens.words(question)))
            about = frozenset(key_tokens.WORD.findall(question.lower()))
            tokens.append(sorted(key_tokens.key_tokens(answer, about)))
            words.append(sorted(key_tokens.words(answer)))
            named = key_tokens.names(question) | key_tokens.names(answer)
            names.append(sorted({key_tokens.stem(name) for name in named}))
            leads.append(key_tokens.leads(answer))
            negated.append(key_tokens.is_negated(answer))
        units = _ragged([[repr(t[:2]) for t in row] for row in tokens], key, in_order=True)
        kinds = np.array([t.kind for row in tokens for t in row], np.uint64)
        units = Ragged((units.values & ~KIND) | kinds, units.starts)
        negative = pc.and_(
            pc.equal(table["rating"], "down").fill_null(False), pc.is_null(table["correction"])
        )
        since, said_at = (pc.cast(table[name], pa.int64()) for name in ("valid_from", "time"))
        target = pc.invert(negative).to_numpy(zero_copy_only=False).astype(bool)
        return cls(
            asked=_ragged(asked, key, in_order=False),
            apart=hashes(pa.array(apart, pa.string()), key),
            units=units,
            tokens=_ragged([[repr(t) for t in row] for row in tokens], key, in_order=True),
            words=_ragged(words, key, in_order=False),
            names=_ragged(names, key, in_order=False),
            leads=np.array(leads, np.int8),
            negated=np.array(negated, bool),
            author=hashes(table["user"], key),
            time=pc.coalesce(since, said_at).fill_null(0).to_numpy().astype(np.int64),
            dated=pc.is_valid(table["valid_from"]).to_numpy().astype(bool),
            taught=target & np.array([bool(words) for words in asked], bool),
            examined=np.asarray(examined, bool),
        )


def joined(parts: Sequence[Statements]) -> Statements:
    """Chunks put together, in their order."""

    def together(columns: Sequence[Any]) -> Any:
        if not isinstance(columns[0], Ragged):
            return np.concatenate(columns)
        sizes = np.concatenate([np.diff(column.starts) for column in columns])
        return Ragged(
            np.concatenate([column.values for column in columns]),
            np.concatenate(([0], np.cumsum(sizes))),
        )

    return Statements(
        **{
            field.name: together([getattr(part, field.name) for part in parts])
            for field in fields(Statements)
        }
    )


def _asked(records: Iterable[Sequence[dict[str, str]] | None]) -> tuple[list[str], list[str]]:
    """Of each record its last turn before the answer, and what was said before that, in small
    letters; without system turns."""
    last, earlier = [], []
    for messages in records:
        turns = [m["content"] or "" for m in messages or () if m["role"] != "system"][:-1]
        last.append(turns[-1] if turns else "")
        earlier.append("\n".join(turns[:-1]))
    return last, normalised(pa.array(earlier, pa.string())).to_pylist()


def _ragged(rows: Sequence[Sequence[str]], key: str, *, in_order: bool) -> Ragged:
    """The hashes of each row's texts; sorted unless their order says something."""
    coded = pa.array([text for row in rows for text in row], pa.string()).dictionary_encode()
    values = hashes(coded.dictionary, key)[coded.indices.to_numpy()]
    starts = np.concatenate(([0], np.cumsum([len(row) for row in rows], dtype=np.int64)))
    if not in_order:
        which = np.repeat(np.arange(len(rows)), np.diff(starts))
        values = values[np.lexsort((values, which))]
    return Ragged(np.asarray(values, np.uint64), starts)
