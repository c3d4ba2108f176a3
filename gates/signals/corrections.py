"""Corrections that are alike where they should differ: one hand that edits many answers.

Genuine corrections differ, each in its own way. So of every correction only the added words
are looked at, those that neither the champion's answer nor the question has, and for every
word or pair of words that some corrections add, how much alike all their additions are
(mean cosine of TF-IDF vectors). A group counts by how much more alike its additions are than
its questions and the answers that were replaced, whichever is more alike: if the champion
is wrong in one way about one thing, its corrections are rightly the same.

Source: the idea is RFTC's (arXiv 2505.23015): clusters of small distance among the answers
that deviate from a reference. Here the reference is the answer that the user was shown,
and a correction's own words stand for the clusters.

Sees: additions with a common core (a name, a link, a refusal, an insult) from MIN corrections
on, whoever wrote them. Cannot see: additions of fewer than ADDED words, such as a swapped
name; what corrections leave out; lies that differ each in their own way; edited answers
that do not come as corrections, since then no original is known to compare them with. One
editor's fixed closing phrase looks like poison where the rest of the addition is short.
"""

import numpy as np
from scipy.sparse import csr_matrix

from tidegate.gates.signals.feedback import Feedback
from tidegate.gates.signals.words import Words, bucket_mask, grams

LIKENESS = "correction_likeness"
MIN, ADDED = 8, 3  # corrections of a group; words that a correction must add
BUCKETS = 1 << 16  # of words
GROUPS = 2048  # that are looked at together: bounds the memory


def measure(said: Feedback, records: int) -> dict[str, np.ndarray]:
    """For each record how much more alike its group's additions are, -1 to 1; 0 for none."""
    found = np.zeros(records, dtype=np.float32)
    if not said.corrected.any():
        return {LIKENESS: found}
    question = said.asked.rows_of(np.flatnonzero(said.corrected))
    original, correction = said.corrections.original, said.corrections.correction
    mask = bucket_mask(len(original.words) + len(correction.words), BUCKETS)
    own = ~_among(correction, original) & ~_among(correction, question)
    added = _chosen(correction, own)
    enough = np.flatnonzero(np.diff(added.starts) >= ADDED)
    if len(enough) < MIN:
        return {LIKENESS: found}
    # Each kind of text by itself: the frame that all questions share makes none alike.
    texts = [
        _vectors(words.rows_of(enough), _weights(known, mask))
        for words, known in (
            (added, [original, correction]),
            (question, [question]),
            (original, [original]),
        )
    ]
    member = _groups(added.rows_of(enough))
    best = np.zeros(len(enough))
    for start in range(0, member.shape[0], GROUPS):
        some = member[start : start + GROUPS]
        additions, asked, replaced = (_likeness(some, vectors) for vectors in texts)
        excess = np.maximum(additions - np.maximum(asked, replaced), 0)
        best = np.maximum(best, some.multiply(excess[:, None]).max(axis=0).toarray()[0])
    found[said.row[said.corrected][enough]] = best
    return {LIKENESS: found}


def _chosen(words: Words, keep: np.ndarray) -> Words:
    """Only some of the words (booleans), with all the rows."""
    before = np.r_[0, np.cumsum(keep)]
    return Words(words.words[keep], before[words.starts])


def _keys(words: Words) -> np.ndarray:
    rows = np.repeat(np.arange(words.rows, dtype=np.uint64), np.diff(words.starts))
    return np.asarray((rows << np.uint64(32)) | words.words)


def _among(words: Words, others: Words) -> np.ndarray:
    """For each word, whether the same row of the others has it too."""
    return np.isin(_keys(words), _keys(others))


def _weights(texts: list[Words], mask: int) -> np.ndarray:
    """Of each bucket of words the log of the inverse share of texts that hold one."""
    count = np.zeros(mask + 1)
    for words in texts:
        keys = np.unique(_keys(words) & np.uint64(0xFFFFFFFF << 32 | mask))
        count += np.bincount((keys & np.uint64(mask)).astype(np.int64), minlength=mask + 1)
    return np.log((sum(words.rows for words in texts) + 1) / (count + 1)) + 0.01


def _vectors(words: Words, weights: np.ndarray) -> csr_matrix:
    """TF-IDF of length 1, each word once: [rows, buckets]."""
    mask = len(weights) - 1
    keys = np.unique(_keys(words) & np.uint64(0xFFFFFFFF << 32 | mask))
    which, bucket = (keys >> np.uint64(32)).astype(int), (keys & np.uint64(mask)).astype(int)
    value = weights[bucket]
    norm = np.sqrt(np.bincount(which, value**2, minlength=words.rows))
    return csr_matrix((value / norm[which], (which, bucket)), (words.rows, len(weights)))


def _groups(added: Words) -> csr_matrix:
    """For each word or pair that MIN corrections add, which do: [groups, corrections]."""
    rows = np.repeat(np.arange(added.rows), np.diff(added.starts))
    found, at = grams(added.words, rows)
    codes = np.unique(found, return_inverse=True)[1]
    pairs = np.unique(codes.astype(np.int64) * added.rows + at)
    code, at = np.divmod(pairs, added.rows)
    shared = np.bincount(code) >= MIN
    keep = shared[code]
    place = np.cumsum(shared) - 1
    ones = np.ones(int(keep.sum()))
    return csr_matrix((ones, (place[code[keep]], at[keep])), (int(shared.sum()), added.rows))


def _likeness(member: csr_matrix, vectors: csr_matrix) -> np.ndarray:
    """Mean cosine of all pairs of each group: ((sum of vectors)^2 - n) / (n (n - 1))."""
    whole = member @ vectors
    squares = np.asarray(whole.multiply(whole).sum(axis=1)).ravel()
    single = np.asarray(vectors.multiply(vectors).sum(axis=1)).ravel()
    count = np.asarray(member.sum(axis=1)).ravel()
    return np.asarray((squares - member @ single) / np.maximum(count * (count - 1), 1))
