"""Whether a new sample is spread as an old one: the population stability index, and C2ST."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2, norm

from tidegate.gates.statistics.estimate import NotComparable, checked_level

HALF = 0.5  # added to every count, so that an empty cell has a logarithm


@dataclass(frozen=True)
class Stability:
    """The index, and what it exceeds with probability alpha if nothing changed."""

    psi: float
    by_chance: float


def stability_index(before: Sequence[int], now: Sequence[int], alpha: float) -> Stability:
    """The population stability index of two rows of counts over the same cells.

        PSI = sum_i (q_i - p_i) ln(q_i / p_i)

    p and q are the shares of `before` and `now`, each count raised by one half. If both are
    samples of one population, PSI / (1/m + 1/n) is about chi-squared with cells - 1 degrees
    of freedom (Yurdakul & Naranjo 2020, Journal of Risk Model Validation 14(4)), so that the
    usual limits of 0.1 and 0.25 mean little for small samples.
    Raises NotComparable for cells that do not match, fewer than two of them, or an empty side.
    """
    checked_level(alpha)
    p, q = (np.asarray(counts, dtype=float) for counts in (before, now))
    if p.shape != q.shape or p.ndim != 1 or p.size < 2:
        raise NotComparable("two rows of counts over the same two or more cells are needed")
    if (p < 0).any() or (q < 0).any() or not p.sum() or not q.sum():
        raise NotComparable("a side without a row has no shares")
    m, n = p.sum(), q.sum()
    p, q = ((counts + HALF) / (counts + HALF).sum() for counts in (p, q))
    index = float(((q - p) * np.log(q / p)).sum())
    chance = float(chi2.ppf(1 - alpha, p.size - 1) * (1 / m + 1 / n))
    return Stability(index, chance)


@dataclass(frozen=True)
class Separation:
    """How well a classifier tells the two samples apart: 0.5 not at all, 1 always."""

    auc: float
    low: float


def separation(before: Sequence[float], now: Sequence[float], alpha: float) -> Separation:
    """The AUC of scores that should be high for `now`, and its one-sided lower bound.

    The scores must come from a classifier that did not see the row it scores: a classifier
    two-sample test (Lopez-Paz & Oquab 2017). The bound is Hanley & McNeil's (1982,
    Radiology 143:29), whose variance holds for a continuous score without ties.
    Raises NotComparable for an empty side or a score that is not finite.
    """
    checked_level(alpha)
    old, new = (np.asarray(scores, dtype=float) for scores in (before, now))
    if not old.size or not new.size or not np.isfinite(np.concatenate([old, new])).all():
        raise NotComparable("both sides need scores, and finite ones")
    ordered = np.sort(old)
    below = np.searchsorted(ordered, new, side="left")
    upto = np.searchsorted(ordered, new, side="right")
    auc = float((below + upto).mean() / (2 * old.size))
    both_new, both_old = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = auc * (1 - auc) + (new.size - 1) * (both_new - auc**2)
    variance += (old.size - 1) * (both_old - auc**2)
    error = math.sqrt(max(variance, 0.0) / (old.size * new.size))
    return Separation(auc, auc - float(norm.ppf(1 - alpha)) * error)
