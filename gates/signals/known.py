"""What a trusted batch teaches already, as sketches: numbers only, no text and no names.

 * words: words and pairs of neighbours that some of its authors use;
 * pairs: a word or pair of a prompt and the kind of answer that often came with it;
 * answers: responses, and whole exchanges, that several of its authors got, and how often.

All are 64-bit hashes keyed by a secret of the home. What fewer than AUTHORS authors have in
common is not in any of them: it could be one person's name, and one account alone cannot
make anything known.

Cannot see: meaning. A word that is known in one sense is known in all, so a new question
with a usual answer, such as a refusal, seems less new; who wrote so much of the trusted batch
that he is AUTHORS of its authors decides what is known.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.sparse import csr_array

from tidegate.gates.signals import answers
from tidegate.gates.signals.answers import Answers
from tidegate.gates.signals.prints import Prints
from tidegate.gates.signals.words import Exchanges, Words, grams, mixed

DOMAIN = "domain_unknown"
AUTHORS = 3  # of the trusted batch: what fewer have in common is not known
SEEN, OFTEN = 5, 0.25  # records with a word, and the share of them with the answer
GROWTH = 3.0  # times its share of the trusted batch: more of a known answer is news again
MOST = 100_000  # records that are learned from, in an order that nobody chose
CHUNK = 2048  # words whose answers are counted at a time: bounds the memory
HEAD = np.uint64(24)  # triggers know the upper 40 bits of a word


@dataclass(frozen=True)
class Known:
    """Sketches of a trusted batch. Arrays of hashes are sorted and without repeats."""

    key: str  # 16 characters; whatever is compared with the sketches is hashed with it
    rows: int  # records that they were made from
    words: np.ndarray  # uint64
    pairs: np.ndarray  # uint64
    answers: np.ndarray  # uint64
    answer_rows: np.ndarray  # int64, records of each
    exchanges: np.ndarray  # uint64
    exchange_rows: np.ndarray  # int64
    usual: float = 1.0  # share of unknown words that nulls.USUAL of its own records stay within

    @classmethod
    def of(cls, said: Exchanges, prints: Prints, key: str) -> Self:
        """From the words and fingerprints of a batch's records, both hashed with `key`."""
        author = np.unique(prints.author, return_inverse=True)[1]
        exchange = mixed(prints.prompt) ^ prints.response
        return cls(
            key,
            said.rows,
            np.union1d(_shared(said.prompt, author)[0], _shared(said.response, author)[0]),
            _pairs(said, author),
            *_by_several(prints.response, author),
            *_by_several(exchange, author),
        )

    def has_pair(self, trigger: int, answer: np.uint64) -> bool:
        """Whether a word (its upper 40 bits) went with a kind of answer already."""
        return bool(has(self.pairs, _pair(np.array([trigger], np.uint64), answer))[0])

    def unknown(self, said: Exchanges) -> np.ndarray:
        """float32: the share of each record's words that is not known, over what is usual.

        Above 1 a record speaks of something else than the trusted batch. A record without
        a word has nothing that is known.
        """
        total, known = np.zeros(said.rows), np.zeros(said.rows)
        for text in (said.prompt, said.response):
            for words, rows in text.blocks():
                found, at = grams(words, rows)
                total += np.bincount(at, minlength=said.rows)
                known += np.bincount(at, has(self.words, found), minlength=said.rows)
        share = np.where(total > 0, 1 - known / np.maximum(total, 1), 1)
        return (share / self.usual).astype(np.float32)

    def answered(self, prints: Prints) -> np.ndarray:
        """Which records answer as the trusted batch did, and not much more often."""
        return _as_often(prints.response, self.answers, self.answer_rows, self.rows)

    def exchanged(self, prints: Prints) -> np.ndarray:
        """Which records are exchanges of the trusted batch, and not much more often."""
        exchange = mixed(prints.prompt) ^ prints.response
        return _as_often(exchange, self.exchanges, self.exchange_rows, self.rows)


def _as_often(
    values: np.ndarray, known: np.ndarray, known_rows: np.ndarray, rows: int
) -> np.ndarray:
    found, code, count = np.unique(values, return_inverse=True, return_counts=True)
    if not len(known):
        return np.zeros(len(values), dtype=bool)
    place = np.minimum(np.searchsorted(known, found), len(known) - 1)
    there = known[place] == found
    usual = known_rows[place] / rows * len(values)
    return np.asarray((there & (count <= GROWTH * usual))[code])


def has(known: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Which of some values are among the sorted, known ones: booleans."""
    if not len(known):
        return np.zeros(len(values), dtype=bool)
    place = np.minimum(np.searchsorted(known, values), len(known) - 1)
    return np.asarray(known[place] == values)


def _pair(triggers: np.ndarray, answer: np.ndarray | np.uint64) -> np.ndarray:
    return mixed(mixed(triggers) + answer)


def _by_several(values: np.ndarray, author: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values that AUTHORS authors have, and in how many records each is."""
    found, code, count = np.unique(values, return_inverse=True, return_counts=True)
    by = np.unique(np.stack((code, author)), axis=1)[0]
    several = np.bincount(by, minlength=len(found)) >= AUTHORS
    return found[several], count[several]


def _shared(text: Words, author: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Words and pairs of neighbours that AUTHORS authors use, and in how many records."""
    places = [grams(words, rows) for words, rows in text.blocks()]
    if not places:
        return np.empty(0, np.uint64), np.empty(0, np.int64)
    found, at = (np.concatenate(part) for part in zip(*places, strict=True))
    values, code = np.unique(found, return_inverse=True)
    width = np.int64(text.rows)
    by_author = np.unique(code * width + author[at]) // width
    by_record = np.unique(code * width + at) // width
    several = np.bincount(by_author, minlength=len(values)) >= AUTHORS
    return values[several], np.bincount(by_record, minlength=len(values))[several]


def _pairs(said: Exchanges, author: np.ndarray) -> np.ndarray:
    """The words of prompts and the kinds of answers that often go together."""
    kinds = answers.of(said, AUTHORS)
    values, count = _shared(said.prompt, author)
    values = values[count >= SEEN]
    if not len(values):
        return values
    triggers, answered = _table_of_words(said.prompt, values), _table_of_kinds(kinds, author)
    parts = list(_often(triggers, answered, kinds, values >> HEAD))
    return np.unique(np.concatenate(parts))


def _table_of_words(prompt: Words, values: np.ndarray) -> csr_array:
    """[word, record]: which records hold which of some words."""
    code, row = [], []
    for words, rows in prompt.blocks():
        found, at = grams(words, rows)
        there = has(values, found)
        code.append(np.searchsorted(values, found[there]))
        row.append(at[there])
    return _table(np.concatenate(code), np.concatenate(row), (len(values), prompt.rows))


def _table_of_kinds(kinds: Answers, author: np.ndarray) -> csr_array:
    """[record, kind]: which records answer in which way, of ways that AUTHORS authors got."""
    row, place = np.nonzero(kinds.codes)
    code = kinds.codes[row, place].astype(np.int64)
    by = np.unique(np.stack((code, author[row])), axis=1)[0]
    several = np.bincount(by, minlength=kinds.kinds + 1) >= AUTHORS
    row, code = row[several[code]], code[several[code]]
    return _table(row, code, (len(kinds.codes), kinds.kinds + 1))


def _table(row: np.ndarray, column: np.ndarray, shape: tuple[int, int]) -> csr_array:
    table = csr_array((np.ones(len(row), np.int32), (row, column)), shape=shape)
    table.sum_duplicates()
    table.data[:] = 1  # a word that a record says twice is there once
    return table


def _often(
    triggers: csr_array, answered: csr_array, kinds: Answers, heads: np.ndarray
) -> Iterator[np.ndarray]:
    for start in range(0, triggers.shape[0], CHUNK):
        piece = triggers[start : start + CHUNK]
        n = np.asarray(piece.sum(axis=1)).ravel()
        together = (piece @ answered).tocoo()
        often = together.data >= OFTEN * n[together.row]
        which, kind = together.row[often], together.col[often]
        yield _pair(heads[start + which], kinds.values[kind])
