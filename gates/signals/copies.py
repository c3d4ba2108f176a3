"""Copies and floods: the same thing learned again and again, and from how many authors.

Sees: exact copies (but for case and punctuation) of an exchange, groups of records with
the same prompt or with the same or nearly the same response (MinHash over pairs of words,
Broder 1997; Jaccard similarity from about 0.5), and how many authors a group has against
how many chance would give it.
Cannot see: rewording beyond that, and floods in which every record has another author.
"""

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from tidegate.gates.signals.known import Known
from tidegate.gates.signals.prints import HASHES, Prints

COPY_RANK, SIZE, AUTHORS, FLOOD = "copy_rank", "cluster_size", "cluster_authors", "flood_ratio"
BANDS = 16  # of 4 hashes: texts of similarity 0.6 share one with probability 0.9, of 0.5 0.6
SIMILAR = 0.5
MIX = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 1], dtype=np.uint64)
# A group that misses fewer authors than this is chance, or one person repeating himself.
MISSING_AUTHORS = 5


def measure(prints: Prints, known: Known | None = None) -> dict[str, np.ndarray]:
    """Rank among equal exchanges (from 1), size and authors of the group of near-equal
    responses, and the flood ratio: authors to be expected in the group / authors it has.

    Answers, and of one prompt whole exchanges, that a trusted batch knows are no flood. Only
    equal texts count as known: a text that is nearly a known one may say the opposite.
    """
    pair = prints.prompt * MIX[0] ^ prints.response
    near = clusters(prints.response, prints.minhash)
    size, authors = _size_and_authors(near, prints.author)
    flood = np.zeros(len(near), dtype=np.float32)
    nothing = np.zeros(len(near), dtype=bool)
    answered, exchanged = (
        (known.answered(prints), known.exchanged(prints)) if known else (nothing, nothing)
    )
    for groups, old in (
        (near, answered),
        (_codes(prints.response), answered),
        (_codes(prints.prompt), exchanged),
    ):
        flood = np.maximum(flood, np.where(old, 0, _flood_ratio(groups, prints.author)))
    return {
        COPY_RANK: rank(pair, prints.order),
        SIZE: size.astype(np.float32),
        AUTHORS: authors.astype(np.float32),
        FLOOD: flood,
    }


def rank(group: np.ndarray, order: np.ndarray) -> np.ndarray:
    """The place of each record in its group, from 1, in the given order."""
    by = np.lexsort((order, group))
    starts = np.flatnonzero(np.r_[True, group[by][1:] != group[by][:-1]]) if len(by) else by
    lengths = np.diff(np.r_[starts, len(by)])
    places = np.arange(len(by)) - np.repeat(starts, lengths)
    ranks = np.empty(len(by), dtype=np.float32)
    ranks[by] = places + 1
    return ranks


def clusters(texts: np.ndarray, minhash: np.ndarray) -> np.ndarray:
    """A number for each text: equal for nearly equal ones. Hashes and signatures of texts."""
    _, first, codes = np.unique(texts, return_index=True, return_inverse=True)
    signatures = minhash[first]
    edges = [_similar_pairs(signatures, band) for band in range(BANDS)]
    left, right = (np.concatenate(side) for side in zip(*edges, strict=True))
    graph = coo_matrix((np.ones(len(left), bool), (left, right)), shape=(len(first),) * 2)
    return np.asarray(connected_components(graph, directed=False)[1])[codes]


def _similar_pairs(signatures: np.ndarray, band: int) -> tuple[np.ndarray, np.ndarray]:
    """Texts that share a band, with the first of them, if they are really similar."""
    width = HASHES // BANDS
    part = signatures[:, band * width : (band + 1) * width].astype(np.uint64)
    keys = part @ MIX  # where two bands collide, the check below tells them apart
    by = np.argsort(keys, kind="stable")
    if not len(by):
        return by, by
    new = np.r_[True, keys[by][1:] != keys[by][:-1]]
    first = by[np.flatnonzero(new)[np.cumsum(new) - 1]]
    left, right = by[~new], first[~new]
    similar = np.empty(len(left), dtype=bool)
    for start in range(0, len(left), 65_536):  # bounds the memory
        piece = slice(start, start + 65_536)
        equal = signatures[left[piece]] == signatures[right[piece]]
        similar[piece] = equal.mean(axis=1) >= SIMILAR
    return left[similar], right[similar]


def _codes(values: np.ndarray) -> np.ndarray:
    return np.unique(values, return_inverse=True)[1]


def _size_and_authors(groups: np.ndarray, author: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if not len(groups):
        return groups, groups
    codes = _codes(author)
    size = np.bincount(groups)
    pairs = np.unique(groups * (codes.max() + 1) + codes)
    authors = np.bincount(pairs // (codes.max() + 1), minlength=len(size))
    return size[groups], authors[groups]


def _flood_ratio(groups: np.ndarray, author: np.ndarray) -> np.ndarray:
    """Expected / observed authors of each record's group; 0 if hardly any are missing."""
    size, authors = _size_and_authors(groups, author)
    if not len(size):
        return np.zeros(0, dtype=np.float32)
    sizes, inverse = np.unique(size, return_inverse=True)
    expected = expected_authors(sizes, author)[inverse]
    ratio = np.where(expected - authors >= MISSING_AUTHORS, expected / authors, 0)
    return ratio.astype(np.float32)


def expected_authors(sizes: np.ndarray, author: np.ndarray) -> np.ndarray:
    """Distinct authors to be expected among so many records drawn from the whole batch.

    The sum over authors of 1 - (1 - share)^n, for each n of `sizes`.
    """
    shares, how_many = np.unique(np.bincount(_codes(author)) / len(author), return_counts=True)
    absent = np.exp(sizes[:, None] * np.log1p(-np.minimum(shares, 1 - 1e-12))[None, :])
    return np.asarray((1 - absent) @ how_many)
