"""Kinds of answers: in what ways the responses of a batch are the same.

Two responses are of one kind when they are equal, begin or end with the same three words,
both refuse, insult or babble, or share one of their most unusual words. A response is of
several kinds. What only repeats the prompt (an echo) makes no kind.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from tidegate.gates.signals.words import Exchanges, Words, blocks, bucket_mask, mixed

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

    def rows(self, kinds: Iterable[int]) -> dict[int, np.ndarray]:
        """The records (int32, sorted) that answer in each of some ways: one pass for all."""
        wanted = np.zeros(self.kinds + 1, dtype=bool)
        wanted[list(kinds)] = True
        found, rows = [np.empty(0, np.int32)], [np.empty(0, np.int32)]
        for block in blocks(len(self.codes)):
            row, place = np.nonzero(wanted[self.codes[block]])
            found.append(self.codes[block][row, place])
            rows.append((row + block.start).astype(np.int32))
        kind, row = np.concatenate(found), np.concatenate(rows)
        by = np.argsort(kind, kind="stable")
        kind, row = kind[by], row[by]
        starts = np.searchsorted(kind, np.arange(self.kinds + 2))
        return {k: row[starts[k] : starts[k + 1]] for k in kinds}


def of(said: Exchanges, least: int) -> Answers:
    """The kinds that at least `least` records share."""
    mask = np.uint32(bucket_mask(len(said.response.words), BUCKETS))
    rough = np.zeros(int(mask) + 1, dtype=np.uint32)
    for words, rows in said.response.blocks():
        np.add.at(rough, _once(words, rows)[0] & mask, np.uint32(1))
    single = np.empty((said.rows, WORD), dtype=np.uint64)
    codes = np.empty((said.rows, WORD + UNUSUAL), dtype=np.int32)
    unusual = codes.view(np.uint32)[:, WORD:]  # their codes take the same room
    for block in blocks(said.rows):
        part = said.part(block)
        own = _own(part)
        single[block, :REFUSES] = _places(part.response, own)
        single[block, REFUSES:BABBLES] = part.behaviour
        unusual[block], single[block, BABBLES] = _unusual(part.response, own, rough, least)
    return _coded(single, unusual, codes, least)


def _coded(single: np.ndarray, unusual: np.ndarray, codes: np.ndarray, least: int) -> Answers:
    """Codes for the values that enough records share. 0 is no value.

    single: uint64 [n, WORD], of one kind each. unusual: uint32 [n, UNUSUAL], all of kind
    WORD: a word is the same kind wherever it is among the unusual. codes: is filled; may lie
    over `unusual`.
    """
    tallies = [*map(_tally, single.T), _tally(unusual)]
    # Numbered by their hashes: the numbers have nothing to do with the kind.
    hashed = np.concatenate(
        [mixed(values + np.uint64(kind)) for kind, (values, _) in enumerate(tallies)]
    )
    present = np.concatenate([values for values, _ in tallies]) > 0
    counts = np.concatenate([count for _, count in tallies])
    by = np.argsort(hashed)
    shared = (counts >= least) & present
    number = np.empty(len(by), dtype=np.int32)
    number[by] = np.where(shared[by], np.cumsum(shared[by]), 0)
    ends = np.cumsum([len(values) for values, _ in tallies])
    for kind, (values, _) in enumerate(tallies):
        numbers = number[ends[kind] - len(values) : ends[kind]]
        for block in blocks(len(single)):
            given = unusual[block] if kind == WORD else single[block, kind, None]
            places = slice(WORD, None) if kind == WORD else slice(kind, kind + 1)
            codes[block, places] = numbers[np.searchsorted(values, given)]
    by = by[shared[by]]
    return Answers(codes, len(by), np.r_[0, counts[by]], np.r_[np.uint64(0), hashed[by]])


def _tally(column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values, sorted, and how many there are of each. In blocks: that bounds the memory."""
    parts = [np.unique(column[b], return_counts=True) for b in blocks(len(column))]
    values, code = np.unique(np.concatenate([v for v, _ in parts]), return_inverse=True)
    counts = np.zeros(len(values), dtype=np.int64)
    np.add.at(counts, code, np.concatenate([c for _, c in parts]))
    return values, counts


def _own(said: Exchanges) -> np.ndarray:
    """For each word of the responses, whether the prompt does not hold it: no echo."""
    answered, asked = (_keys(s.words, _rows(s)) for s in (said.response, said.prompt))
    return np.asarray(~np.isin(answered, asked, kind="sort"))


def _places(response: Words, own: np.ndarray) -> np.ndarray:
    """A hash of the whole response, of its beginning and of its end: uint64 [n, 3].

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
    rows = _rows(response)  # each word is weighed by its place
    place = (np.arange(len(rows)) - response.starts[rows]).astype(np.uint64)
    weighed = mixed(response.words.astype(np.uint64) + (place << np.uint64(32)))
    np.add.at(whole, rows, weighed)
    return np.stack([np.where(found[0][1] & (lengths > 0), whole, 0), *ends], axis=1)


def _unusual(
    response: Words, own: np.ndarray, rough: np.ndarray, least: int
) -> tuple[np.ndarray, np.ndarray]:
    """Of each response its rarest own words that `least` records share: uint32 [n, UNUSUAL].

    And which responses are of words that hardly any other has.
    """
    found = np.zeros((response.rows, UNUSUAL), dtype=np.uint32)
    words, rows = _once(response.words[own], _rows(response)[own])
    count = rough[words & np.uint32(len(rough) - 1)]
    alone = np.bincount(rows[count == 1], minlength=response.rows)
    every = np.bincount(rows, minlength=response.rows)
    babbles = (alone >= ENDS) & (alone > BABBLE * every)
    words, rows, count = (a[count >= least] for a in (words, rows, count))
    by = np.argsort(_keys(count, rows), kind="stable")  # of equally rare ones in their order
    words, rows = words[by], rows[by]
    first = np.flatnonzero(np.r_[True, rows[1:] != rows[:-1]]) if len(rows) else rows
    place = np.arange(len(rows)) - np.repeat(first, np.diff(np.r_[first, len(rows)]))
    near = place < UNUSUAL
    found[rows[near], place[near]] = words[near]
    return found, babbles


def _rows(texts: Words) -> np.ndarray:
    """The row of each word."""
    return np.repeat(np.arange(texts.rows), np.diff(texts.starts))


def _once(words: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each word once a row."""
    keys = np.unique(_keys(words, rows))
    return keys.astype(np.uint32), (keys >> np.uint64(32)).astype(np.int64)


def _keys(words: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return np.asarray((rows.astype(np.uint64) << np.uint64(32)) | words)
