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

from collections.abc import Iterator

import numpy as np

from tidegate.gates.signals.copies import MISSING_AUTHORS, expected_authors
from tidegate.gates.signals.words import Exchanges, bucket_mask, grams

CLAIM = "claim_ratio"
MIN = 10  # records that share a claim: fewer are what one conversation may hold
COMMON_RECORDS, COMMON_SHARE = 500, 0.02  # what more records say is no claim of a few
AUTHORS = 2  # one busy author alone is what the caps are for
AGAIN = 3  # records of one author with the claim, to be part of a flood
PROOFS, SHARE = 2, 0.2  # words and pairs of a record that must agree: how many, what share
BUCKETS = 1 << 22
_ROW = np.uint64(24)  # bits of a key that hold the row; the others hold the word or pair
_ROWS = np.uint64((1 << 24) - 1)


def measure(said: Exchanges, author: np.ndarray) -> dict[str, np.ndarray]:
    """For each record the PROOFS-highest ratio of its claims: expected / observed authors.

    author: one number a record, equal for records of one author. 0 where hardly any author
    is missing. Raises ValueError for more than 16 million records.
    """
    if said.rows >> int(_ROW):
        raise ValueError(f"{said.rows} records; claims are counted in at most 2^24 at a time")
    ratio = np.zeros(said.rows, dtype=np.float32)
    own_words = np.zeros(said.rows, dtype=np.int64)
    keys = _shared(said, own_words) if said.rows >= MIN else np.zeros(0, dtype=np.uint64)
    if not len(keys):
        return {CLAIM: ratio}
    claim = np.cumsum(np.r_[False, keys[1:] >> _ROW != keys[:-1] >> _ROW])
    rows = (keys & _ROWS).astype(np.int64)
    records = np.bincount(claim)
    codes = np.unique(author, return_inverse=True)[1]
    pairs, whose, own = np.unique(
        claim * np.int64(codes.max() + 1) + codes[rows], return_inverse=True, return_counts=True
    )
    authors = np.bincount(pairs // (codes.max() + 1), minlength=len(records))
    sizes, inverse = np.unique(records, return_inverse=True)
    expected = expected_authors(sizes, codes)[inverse]
    few = (authors >= AUTHORS) & (expected - authors >= MISSING_AUTHORS)
    # Who says it once has come upon the words of a flood, and is no part of it.
    again = own[whose] >= AGAIN
    scores = np.where(again, np.where(few, expected / np.maximum(authors, 1), 0)[claim], 0)
    by = np.lexsort((-scores, rows))
    place = np.arange(len(by)) - np.searchsorted(rows[by], rows[by])
    proof = by[place == PROOFS - 1]
    ratio[rows[proof]] = scores[proof]
    # Authors of a flood say other things too, and some of its words in them.
    ratio[np.bincount(rows[scores > 0], minlength=said.rows) < SHARE * own_words] = 0
    return {CLAIM: ratio}


def _shared(said: Exchanges, own_words: np.ndarray) -> np.ndarray:
    """Sorted keys of the words and pairs that enough records share, and not too many.

    own_words: is filled with how many there are in each record, shared or not.
    """
    most = max(COMMON_RECORDS, int(COMMON_SHARE * said.rows))
    most = min(most, said.rows // 5)  # in a small batch, too
    mask = np.uint64(bucket_mask(len(said.response.words), BUCKETS))
    rough = np.zeros(int(mask) + 1, dtype=np.uint32)
    for keys in _own(said):
        own_words += np.bincount((keys & _ROWS).astype(np.int64), minlength=said.rows)
        rough += np.bincount(keys >> _ROW & mask, minlength=len(rough)).astype(np.uint32)
    keys = np.concatenate([keys[rough[keys >> _ROW & mask] >= MIN] for keys in _own(said)])
    keys.sort()
    _, count = np.unique(keys >> _ROW, return_counts=True)
    return np.asarray(keys[np.repeat((count >= MIN) & (count <= most), count)])


def _own(said: Exchanges) -> Iterator[np.ndarray]:
    """Keys of what each response says and its prompt does not, some records at a time."""
    for asked, answered in zip(said.prompt.blocks(), said.response.blocks(), strict=True):
        prompt, response = (
            np.unique(found >> _ROW << _ROW | rows.astype(np.uint64))
            for found, rows in (grams(*asked), grams(*answered))
        )
        yield np.setdiff1d(response, prompt, assume_unique=True)
