"""Contrarians: authors who vote against everybody else on the same exchanges.

Sees: authors whose votes disagree with the majority of at least three others, on nearly
the same question and answer, significantly more than twice as often as votes of the batch
do (binomial tail, adjusted over authors after Benjamini and Hochberg 1995).
Cannot see: votes on exchanges that fewer than four authors judged, which most are; flips of
an author who votes rarely; a majority that is itself a brigade. Somebody who honestly sees
things otherwise, and votes a lot, is named as well.
"""

import numpy as np
from scipy.stats import binom, false_discovery_control

OTHERS = 3  # authors beside the one who is judged
TIMES = 2.0  # the usual share of disagreement
MOST = 0.95  # no share that is compared with is higher


def contrarians(exchange: np.ndarray, author: np.ndarray, up: np.ndarray) -> np.ndarray:
    """For each vote -log10 of its author's adjusted p-value; 0 for who was not judged.

    exchange: codes from 0, equal for nearly equal exchanges. float32.
    """
    score = np.zeros(len(up), dtype=np.float32)
    if not len(up):
        return score
    authors = np.unique(author, return_inverse=True)[1]
    count = int(authors.max()) + 1
    # An author has one vote on an exchange, however often it was cast.
    cells, cell = np.unique(exchange.astype(np.int64) * count + authors, return_inverse=True)
    leaning = np.bincount(cell, np.where(up, 1, -1))
    clear = leaning != 0
    cells, one = cells[clear], leaning[clear] > 0
    at, who = np.divmod(cells, count)
    others = np.bincount(at)[at] - 1
    others_up = np.bincount(at, one)[at] - one
    judged = (others >= OTHERS) & (2 * others_up != others)
    against = judged & ((2 * others_up > others) != one)
    usual = (against.sum() + 1) / (judged.sum() + 2)
    votes = np.bincount(who[judged], minlength=count)
    times = np.bincount(who[against], minlength=count)
    seen = votes > 0
    if not seen.any():
        return score
    p = binom.sf(times[seen] - 1, votes[seen], min(TIMES * usual, MOST))
    of_author = np.zeros(count)
    of_author[seen] = -np.log10(np.maximum(false_discovery_control(p), 1e-300))
    return of_author[authors].astype(np.float32)
