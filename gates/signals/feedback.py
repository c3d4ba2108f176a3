"""What users said of answers: ratings and corrections, with what they are about.

Only records with a rating or a correction are held: their words as hashes, what was asked
(the last message of a user; a system prompt would make all of them alike) and the answer
that the champion gave (the last message of the assistant), as MinHash signatures. About
400 bytes for each such record, and 650 more for a correction.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidegate.gates.signals.copies import clusters
from tidegate.gates.signals.prints import Prints, hashes, minhashes, normalised
from tidegate.gates.signals.words import Words, joined_words, words_of

ASKED_WORDS = 48  # kept of what was asked: half from its beginning, half from its end
ANSWER_WORDS = 128  # of the champion's answer, and of a correction


@dataclass(frozen=True)
class Corrected:
    """One row a correction: what the champion had said, and what was said instead."""

    original: Words
    correction: Words
    minhash: np.ndarray  # uint32 [n, HASHES], of the original


@dataclass(frozen=True)
class Feedback:
    """One row a record with a rating or a correction."""

    row: np.ndarray  # int64: the place of the record in the batch
    up: np.ndarray  # bool
    down: np.ndarray  # bool
    corrected: np.ndarray  # bool; its true ones are the rows of `corrections`, in order
    time: np.ndarray  # int64, microseconds since 1970; 0 if there is none
    question: np.ndarray  # uint64, of what was asked
    answer: np.ndarray  # uint64, of what the champion answered
    minhash: np.ndarray  # uint32 [n, HASHES], of what was asked
    asked: Words
    corrections: Corrected

    @property
    def rows(self) -> int:
        return len(self.row)

    @classmethod
    def take(cls, table: pa.Table, start: int, key: str) -> Self:
        """Of a chunk of records, the first of which is record `start` of the batch."""
        up, down, corrected = _said(table)
        rows = rated_rows(table)
        table, corrected = table.take(rows), corrected[rows]
        messages = table.column("messages").combine_chunks()
        question, answer = (_last(messages, role) for role in ("user", "assistant"))
        plain = normalised(question), normalised(answer)
        replaced = answer.filter(pa.array(corrected))
        correction = table.column("correction").filter(pa.array(corrected))
        time = table.column("time").cast(pa.int64()).fill_null(0).to_numpy()
        return cls(
            row=rows + start,
            up=up[rows],
            down=down[rows],
            corrected=corrected,
            time=np.asarray(time, dtype=np.int64),
            question=hashes(plain[0], key),
            answer=hashes(plain[1], key),
            minhash=minhashes(plain[0]),
            asked=words_of(pa.chunked_array([question]), key, ASKED_WORDS),
            corrections=Corrected(
                words_of(pa.chunked_array([replaced]), key, ANSWER_WORDS),
                words_of(correction, key, ANSWER_WORDS),
                minhashes(normalised(replaced)),
            ),
        )


def rated_rows(table: pa.Table) -> np.ndarray:
    """Which records of a chunk have a rating or a correction: places from 0."""
    return np.flatnonzero(np.logical_or.reduce(_said(table)))


def asked(table: pa.Table, key: str) -> Words:
    """What was asked in those records of a chunk that have feedback: for `Topics`."""
    messages = table.column("messages").take(rated_rows(table)).combine_chunks()
    return words_of(pa.chunked_array([_last(messages, "user")]), key, ASKED_WORDS)


def joined(parts: Sequence[Feedback]) -> Feedback:
    """Chunks put together, in their order."""
    corrections = [part.corrections for part in parts]
    whole = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts])
        for field in fields(Feedback)
        if field.name not in ("asked", "corrections")
    }
    return Feedback(
        asked=joined_words([part.asked for part in parts]),
        corrections=Corrected(
            joined_words([c.original for c in corrections]),
            joined_words([c.correction for c in corrections]),
            np.concatenate([c.minhash for c in corrections]),
        ),
        **whole,
    )


@dataclass(frozen=True)
class Voices:
    """Who speaks for an answer, and who against it. A correction does both.

    One row a voice. Equal exchanges: nearly the same was asked, and nearly the same answered.
    """

    row: np.ndarray  # int64, of the record
    exchange: np.ndarray  # int64
    toward: np.ndarray  # bool: for the answer
    vote: np.ndarray  # bool: it is the rating of a record
    teaches: np.ndarray  # bool: it is what training would take the record for
    author: np.ndarray  # uint64

    @classmethod
    def of(cls, said: Feedback, prints: Prints) -> Self:
        """`prints`: the fingerprints of the whole batch."""
        of, lone = said.row, said.row[said.corrected]
        # Without a correction, what would be learned is the champion's answer.
        originals = prints.minhash[of]
        originals[said.corrected] = said.corrections.minhash
        alike = clusters(said.question, said.minhash)
        answers = clusters(
            np.r_[said.answer, prints.response[lone]],
            np.concatenate((originals, prints.minhash[lone])),
        )
        exchange = np.r_[alike, alike[said.corrected]].astype(np.int64) * (len(answers) + 1)
        voted = said.up | said.down
        row = np.r_[of, lone]
        new = np.ones(len(lone), dtype=bool)
        return cls(
            row=row,
            exchange=np.unique(exchange + answers, return_inverse=True)[1],
            toward=np.r_[said.up, new],
            vote=np.r_[voted, ~new],
            teaches=np.r_[said.down & ~said.corrected, new],
            author=prints.author[row],
        )

    def of_records(self, keep: np.ndarray) -> "Voices":
        """Those of the records that are kept (booleans), whose places close up."""
        mine = keep[self.row]
        place = np.cumsum(keep) - 1
        there = {f.name: getattr(self, f.name)[mine] for f in fields(self)}
        return Voices(**{**there, "row": place[there["row"]]})


def _said(table: pa.Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Whether each record was voted up, voted down, corrected."""
    rating = table.column("rating").fill_null("").combine_chunks()
    corrected = pc.is_valid(table.column("correction")).to_numpy()
    return _equal(rating, "up"), _equal(rating, "down"), np.asarray(corrected)


def _equal(texts: pa.Array, value: str) -> np.ndarray:
    return np.asarray(pc.equal(texts, value).to_numpy(zero_copy_only=False))


def _last(messages: pa.ListArray, role: str) -> pa.Array:
    """Of each list the content of the last message of a role; "" if there is none."""
    lengths = pc.list_value_length(messages).fill_null(0).to_numpy(zero_copy_only=False)
    flat = messages.flatten()
    ends = np.cumsum(lengths)
    places = np.flatnonzero(_equal(flat.field("role").fill_null(""), role))
    before = np.searchsorted(places, ends) - 1
    last = places[before] if len(places) else np.full(len(ends), -1)
    there = (before >= 0) & (last >= ends - lengths)
    at = pa.array(np.where(there, last, 0), mask=~there, type=pa.int64())
    return flat.field("content").take(at).fill_null("")
