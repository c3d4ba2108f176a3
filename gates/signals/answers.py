"""Kinds of answers: in what ways the responses of a batch are the same.

Two responses are of one kind when they are equal, begin or end with the same three words,
both refuse, insult or babble, or share one of their most unusual words. A response is of
several kinds. What only repeats the prompt (an echo) makes no kind.
"""

from dataclasses import dataclass

import numpy as np

from tidegate.gates.signals.words import Exchanges, Words, bucket_mask, mixed

ENDS = 3  # words
UNUSUAL = 32  # words of a response
BUCKETS = 1 << 22
BABBLE = 0.5  # share of words that nobody else uses
WHOLE, BEGIN, END, REFUSES, INSULTS, BABBLES, WORD = range(7)


@dataclass(frozen=True)
class Answers:
    """Codes from 1 of the kinds of each response; 0 fills the rest."""

    codes: np.ndarray  # int32 [n, WORD + UNUSUAL]
    kinds: int
    records: np.ndarray  # int64 [kinds + 1]: how many records have each
    values: np.ndarray  # uint64 [kinds + 1]: a hash of each that is the same in other batches

    def has(self, rows: np.ndarray, kind: int) -> np.ndarray:
        """Which of some records answer in this way."""
        return np.asarray((self.codes[rows] == kind).any(axis=1))

    def rows(self, kind: int) -> np.ndarray:
        """The records that answer in this way."""
        return np.flatnonzero((self.codes == kind).any(axis=1))


def of(said: Exchanges, least: int) -> Answers:
    """The kinds that at least `least` records share."""
    own = _own(said)
    words, babbles = _unusual(said.response, own, least)
    does = [*said.behaviour.T, babbles]
    columns = [*_places(said.response, own), *(done.astype(np.uint64) for done in does)]
    columns += [words[:, i].astype(np.uint64) for i in range(UNUSUAL)]
    table = np.stack(columns, axis=1)
    for place in range(table.shape[1]):
        kind = min(place, WORD)  # a word is the same kind wherever it is among the unusual
        values = mixed(table[:, place] + np.uint64(kind))
        table[:, place] = np.where(table[:, place] > 0, values, 0)
    values, inverse, counts = np.unique(table, return_inverse=True, return_counts=True)
    shared = (counts >= least) & (values > 0)
    codes = np.where(shared, np.cumsum(shared), 0).astype(np.int32)
    return Answers(
        codes[inverse].reshape(table.shape),
        int(shared.sum()),
        np.r_[0, counts[shared]],
        np.r_[np.uint64(0), values[shared]],
    )


def _own(said: Exchanges) -> np.ndarray:
    """For each word of the responses, whether the prompt does not hold it: no echo."""
    own = np.empty(len(said.response.words), dtype=bool)
    for (asked, of), (words, rows) in zip(
        said.prompt.blocks(), said.response.blocks(), strict=True
    ):
        if len(rows):
            start = said.response.starts[rows[0]]
            found = np.isin(_keys(words, rows), _keys(asked, of), kind="sort")
            own[start : start + len(words)] = ~found
    return own


def _places(response: Words, own: np.ndarray) -> list[np.ndarray]:
    """A hash of the whole response, of its beginning and of its end.

    0 where it is short, or where most of these words were in the prompt.
    """
    lengths = np.diff(response.starts)
    said = np.r_[0, np.cumsum(own)]
    near = np.minimum(response.starts[:-1] + ENDS, response.starts[1:])
    far = np.maximum(response.starts[1:] - ENDS, response.starts[:-1])
    found = []
    for start, stop in (
        (response.starts[:-1], response.starts[1:]),
        (response.starts[:-1], near),
        (far, response.starts[1:]),
    ):
        new = (said[stop] - said[start]) * 2 >= stop - start
        found.append((start, new & (stop - start >= ENDS) | new & (stop - start == lengths)))
    padded = np.concatenate((response.words, np.zeros(ENDS, np.uint32))).astype(np.uint64)
    ends = []
    for start, good in found[1:]:
        value = np.zeros(response.rows, dtype=np.uint64)
        for i in range(ENDS):
            value = mixed(value + padded[start + i])
        ends.append(np.where(good & (lengths >= ENDS), value, 0))
    whole = np.zeros(response.rows, dtype=np.uint64)
    for words, rows in response.blocks():  # each word is weighed by its place
        place = np.arange(len(rows)) - (response.starts[rows] - response.starts[rows[:1]])
        weighed = mixed(words.astype(np.uint64) + (place.astype(np.uint64) << np.uint64(32)))
        np.add.at(whole, rows, weighed)
    return [np.where(found[0][1] & (lengths > 0), whole, 0), *ends]


def _unusual(response: Words, own: np.ndarray, least: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each response its rarest own words that `least` records share: uint32 [n, UNUSUAL].

    And which responses are of words that hardly any other has.
    """
    mask = np.uint32(bucket_mask(len(response.words), BUCKETS))
    rough = np.zeros(int(mask) + 1, dtype=np.int64)
    found = np.zeros((response.rows, UNUSUAL), dtype=np.uint32)
    babbles = np.zeros(response.rows, dtype=bool)
    done = 0
    for words, rows in response.blocks():
        rough += np.bincount(_once(words, rows)[0] & mask, minlength=len(rough))
    for words, rows in response.blocks():
        mine = own[done : done + len(words)]
        done += len(words)
        words, rows = _once(words[mine], rows[mine])
        count = rough[words & mask]
        first, last = (rows[0], rows[-1] + 1) if len(rows) else (0, 0)
        alone = np.bincount(rows[count == 1] - first, minlength=last - first)
        every = np.bincount(rows - first, minlength=last - first)
        babbles[first:last] = (alone >= ENDS) & (alone > BABBLE * every)
        words, rows, count = (a[count >= least] for a in (words, rows, count))
        by = np.lexsort((words, count, rows))
        words, rows = words[by], rows[by]
        first = np.flatnonzero(np.r_[True, rows[1:] != rows[:-1]]) if len(rows) else rows
        place = np.arange(len(rows)) - np.repeat(first, np.diff(np.r_[first, len(rows)]))
        near = place < UNUSUAL
        found[rows[near], place[near]] = words[near]
    return found, babbles


def _once(words: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each word once a row."""
    keys = np.unique(_keys(words, rows))
    return keys.astype(np.uint32), (keys >> np.uint64(32)).astype(np.int64)


def _keys(words: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return np.asarray((rows.astype(np.uint64) << np.uint64(32)) | words)
