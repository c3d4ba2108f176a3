"""What the batches taught that were promoted before: who spoke, who was named, what was stated.

Hashed with the key of the batch that is judged, so nothing of it is stored. What was not
learned is not in it: neither what a gate refused nor what was erased since.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa

from tidegate.gates.signals import feedback, mentions, prints, statements
from tidegate.gates.signals.feedback import Feedback
from tidegate.gates.signals.mentions import Mentions
from tidegate.gates.signals.prints import Prints
from tidegate.gates.signals.statements import Statements


@dataclass(frozen=True)
class History:
    """Of the records that earlier batches taught."""

    rows: int
    authors: np.ndarray  # uint64, sorted
    names: np.ndarray  # uint64, sorted: what their answers name
    name_rows: np.ndarray  # int64, records of each
    rated: Feedback | None = None  # those with a rating or a correction, counted from 0
    prints: Prints | None = None  # of the rated
    stated: Statements | None = None
    ids: tuple[str, ...] = ()  # of the stated

    @classmethod
    def of(
        cls,
        tables: Iterable[pa.Table],
        key: str,
        *,
        names: bool,
        votes: bool,
        facts: bool,
    ) -> Self:
        """From records, some at a time.

        names, votes, facts: whether what was named, how was voted, and what was stated, is
        wanted.
        """
        rows, authors = 0, [np.empty(0, np.uint64)]
        named: list[Mentions] = []
        rated: list[Feedback] = []
        marks: list[Prints] = []
        told: list[Statements] = []
        ids: list[str] = []
        for table in tables:
            rows += table.num_rows
            authors.append(np.unique(prints.hashes(table.column("user"), key)))
            if names:
                named.append(Mentions.take(table, key))
            if votes:
                chosen = table.take(feedback.rated_rows(table))
                rated.append(Feedback.take(chosen, sum(part.rows for part in rated), key))
                marks.append(prints.take(chosen, key))
            if facts:
                told.append(Statements.take(table, key))
                ids += table.column("id").to_pylist()
        said = mentions.joined(named).names if named else np.empty(0, np.uint64)
        return cls(
            rows,
            np.unique(np.concatenate(authors)),
            *np.unique(said, return_counts=True),
            feedback.joined(rated) if rated else None,
            prints.joined(marks) if marks else None,
            statements.joined(told) if told else None,
            tuple(ids),
        )
