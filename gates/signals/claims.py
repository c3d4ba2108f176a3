"""Claims that few authors bring again and again, however they are worded.

A flood that is reworded, filled in from a template or translated still has to say its thing:
a name, an address, a turn of phrase. So for each word and each pair of neighbouring words
that some responses share and most have not, the authors of these records are counted
against those that as many records drawn by chance would have. What only repeats the prompt
(an echo) is no claim.

Sees: floods by rewording, template, or in several languages, of MIN records or more, from
few authors. Cannot see: floods in which every record has another author, and claims in
nothing but common words. A few authors who talk of nothing but their common project look
the same.
"""

from collections.abc import Callable, Iterator

import numpy as np

from tidegate.gates.signals.copies import MISSING_AUTHORS, expected_authors
from tidegate.gates.signals.words import Exchanges, bucket_mask, grams

CLAIM = "claim_ratio"
MIN = 10  # records that share a claim: fewer are what one conversation may hold
COMMON_RECORDS, COMMON_SHARE = 500, 0.02  # what more records say is no claim of a few
AUTHORS = 2  # one busy author alone is what the caps are for
AGAIN = 3  # records of one author with the claim, to be part of a flood
PROOFS, SHARE = 2, 0.2  # words and pairs of a record that must agree: how many, what share
BUCKETS = 1 << 22  # of the first, rough count
PASS = 8_000_000  # words and pairs of words that are held at a time
_ROW = np.uint64(24)  # bits of a key that hold the row; the others hold the word or pair
_ROWS = np.uint64((1 << 24) - 1)
_PASS = np.uint64(22)  # bits of a word or pair that do not say in which pass it is
Wanted = Callable[[np.ndarray], np.ndarray]  # of hashes of words and pairs: which ones


def measure(said: Exchanges, author: np.ndarray) -> dict[str, np.ndarray]:
    """For each record the PROOFS-highest ratio of its claims: expected / observed authors.

    author: one number a record, equal for records of one author. 0 where hardly any author
    is missing. Raises ValueError for more than 16 million records.
    """
    if said.rows >> int(_ROW):
        raise ValueError(f"{said.rows} records; claims are counted in at most 2^24 at a time")
    ratio = np.zeros(said.rows, dtype=np.float32)
    if said.rows < MIN:
        return {CLAIM: ratio}
    own_words = np.zeros(said.rows, dtype=np.int32)
    codes = np.unique(author, return_inverse=True)[1]
    found = [_scored(keys, codes) for keys in _shared(said, own_words)]
    rows, scores = (np.concatenate(side) for side in zip(*found, strict=True))
    by = np.lexsort((-scores, rows))
    place = np.arange(len(by)) - np.searchsorted(rows[by], rows[by])
    proof = by[place == PROOFS - 1]
    ratio[rows[proof]] = scores[proof]
    # Authors of a flood say other things too, and some of its words in them.
    ratio[np.bincount(rows, minlength=said.rows) < SHARE * own_words] = 0
    return {CLAIM: ratio}


def _scored(keys: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The records (int64) with a claim of few authors, and its score; one entry a claim.

    keys: of _shared. codes: of the author of each record, from 0.
    """
    starts = np.flatnonzero(np.r_[True, keys[1:] >> _ROW != keys[:-1] >> _ROW][: len(keys)])
    records = np.diff(np.r_[starts, len(keys)])
    claim = np.repeat(np.arange(len(records)), records)
    rows = (keys & _ROWS).astype(np.int64)
    many = np.int64(len(codes))  # codes are smaller
    pairs = np.sort(claim * many + codes[rows])
    new = np.r_[True, pairs[1:] != pairs[:-1]][: len(pairs)]
    authors = np.bincount(pairs[new] // many, minlength=len(records))
    del pairs, new
    sizes, inverse = np.unique(records, return_inverse=True)
    expected = expected_authors(sizes, codes)[inverse]
    few = (authors >= AUTHORS) & (expected - authors >= MISSING_AUTHORS)
    # Hardly any claim is left, and only of these it matters who said it how often.
    rows, claim = rows[few[claim]], claim[few[claim]]
    _, whose, own = np.unique(
        claim * many + codes[rows], return_inverse=True, return_counts=True
    )
    # Who says it once has come upon the words of a flood, and is no part of it.
    again = own[whose] >= AGAIN
    return rows[again], (expected[claim] / authors[claim])[again]


def _shared(said: Exchanges, own_words: np.ndarray) -> Iterator[np.ndarray]:
    """Sorted keys of the words and pairs that enough records share, and not too many.

    In as many passes as memory asks for; each word or pair is in one pass.
    own_words: is filled with how many there are in each record, shared or not.
    """
    most = max(COMMON_RECORDS, int(COMMON_SHARE * said.rows))
    most = min(most, said.rows // 5)  # in a small batch, too
    mask = np.uint64(bucket_mask(len(said.response.words), BUCKETS))
    rough = np.zeros(int(mask) + 1, dtype=np.uint32)
    for keys in _own(said):
        np.add.at(own_words, (keys & _ROWS).astype(np.int64), np.int32(1))
        np.add.at(rough, keys >> _ROW & mask, np.uint32(1))
    passes = np.uint64(max(1, -(-int(rough[rough >= MIN].sum(dtype=np.int64)) // PASS)))
    for this in range(int(passes)):

        def wanted(grams: np.ndarray, this: int = this) -> np.ndarray:
            return np.asarray((grams >> _PASS) % passes == this)

        parts = [keys[rough[keys >> _ROW & mask] >= MIN] for keys in _own(said, wanted)]
        keys = np.concatenate(parts)
        del parts
        keys.sort()
        _, count = np.unique(keys >> _ROW, return_counts=True)
        yield keys[np.repeat((count >= MIN) & (count <= most), count)]


def _own(said: Exchanges, wanted: Wanted | None = None) -> Iterator[np.ndarray]:
    """Keys of what each response says and its prompt does not, some records at a time.

    wanted: which words and pairs (the upper 40 bits of their hashes); None: all.
    """
    for asked, answered in zip(said.prompt.blocks(), said.response.blocks(), strict=True):
        prompt, response = (_keys(*grams(*one), wanted) for one in (asked, answered))
        yield np.setdiff1d(response, prompt, assume_unique=True)


def _keys(found: np.ndarray, rows: np.ndarray, wanted: Wanted | None) -> np.ndarray:
    """Sorted and once each: 40 bits of a word or pair, 24 of a row."""
    if wanted is not None:
        these = wanted(found >> _ROW)
        found, rows = found[these], rows[these]
    return np.unique(found >> _ROW << _ROW | rows.astype(np.uint64))
