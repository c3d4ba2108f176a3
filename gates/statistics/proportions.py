"""Right or wrong, item by item: differences of paired proportions, and plain proportions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import betainc, betaincinv, ndtr

from tidegate.gates.statistics.estimate import (
    Estimate,
    NotComparable,
    checked_level,
    checked_pairs,
)


def tango(differences: Sequence[float]) -> Estimate:
    """The score interval for the difference of two paired proportions.

    `differences` holds 1 where only the candidate was right, -1 where only the baseline was,
    and 0 where they agree. A bound is the difference at which the score test

        T(d) = (better - worse - n d) / sqrt(n (2 q + d (1 - d)))

    has p-value alpha against the normal distribution; q is the maximum-likelihood
    probability of "worse" if the true difference is d. So the bounds stay within -1 and 1,
    and keep their width when no pair is discordant. At d = 0 it is McNemar's test.
    The test is asymptotic. With 20 to 110 pairs, 2 to 40 % of them discordant, and a true
    loss of up to ten points, a lower bound with alpha = 0.05 is wrong at most 5.6 % of the
    time and an upper bound at most 8.2 % (counted exactly, not simulated:
    tests/test_statistics_simulated.py); with few discordant pairs mostly far less.
    Raises NotComparable for fewer than MIN_PAIRS pairs and for any other value.
    Source: Tango (1998), Statistics in Medicine 17:891.
    """
    values = checked_pairs(differences)
    if not np.isin(values, (-1, 0, 1)).all():
        raise NotComparable("a difference of right and wrong answers is not -1, 0 or 1")
    return _Tango(
        better=int(np.count_nonzero(values == 1)),
        worse=int(np.count_nonzero(values == -1)),
        n=values.size,
    )


def exact_binomial(hits: int, n: int) -> Estimate:
    """A proportion with exact one-sided bounds (Clopper & Pearson 1934) and exact p-values.

    The bounds never err more often than they say; with few items, much less often.
    Raises NotComparable if there are no items or more hits than items.
    """
    if n < 1 or not 0 <= hits <= n:
        raise NotComparable(f"{hits} hits of {n} items are not a proportion")
    return _ExactBinomial(hits, n)


def clopper_pearson(hits: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Exact two-sided interval of a proportion (Clopper & Pearson 1934)."""
    seen = exact_binomial(hits, n)
    tail = (1 - confidence) / 2
    return seen.lower(tail), seen.upper(tail)


@dataclass(frozen=True)
class _Tango:
    better: int
    worse: int
    n: int
    method: str = "Tango score"

    @property
    def mean(self) -> float:
        return (self.better - self.worse) / self.n

    def lower(self, alpha: float) -> float:
        checked_level(alpha)
        if self.p_at_most(-1.0) >= alpha:
            return -1.0
        from scipy.optimize import brentq  # here: it takes a quarter of a second to import

        return float(brentq(lambda d: self.p_at_most(d) - alpha, -1.0, 1.0, xtol=1e-12))

    def upper(self, alpha: float) -> float:
        return -self._mirrored().lower(alpha)

    def p_at_most(self, limit: float) -> float:
        if math.isnan(limit):
            return math.nan
        if abs(limit) > 1:
            return float(limit > 1)
        return float(ndtr(-self._score(limit)))

    def p_at_least(self, limit: float) -> float:
        return self._mirrored().p_at_most(-limit)

    def _mirrored(self) -> "_Tango":
        return _Tango(better=self.worse, worse=self.better, n=self.n)

    def _score(self, d: float) -> float:
        """T(d), falling in d."""
        excess = self.better - self.worse - self.n * d
        b = (2 * self.n - self.better + self.worse) * d - self.better - self.worse
        c = -self.worse * d * (1 - d)
        q = (math.sqrt(max(b * b - 8 * self.n * c, 0.0)) - b) / (4 * self.n)
        variance = self.n * (2 * q + d * (1 - d))
        if variance > 0:
            return excess / math.sqrt(variance)
        # No spread at all: either this is what was seen, or it is impossible.
        return math.copysign(math.inf, excess) if excess else 0.0


@dataclass(frozen=True)
class _ExactBinomial:
    hits: int
    n: int
    method: str = "exact binomial"

    @property
    def mean(self) -> float:
        return self.hits / self.n

    def lower(self, alpha: float) -> float:
        checked_level(alpha)
        return float(betaincinv(self.hits, self.n - self.hits + 1, alpha)) if self.hits else 0.0

    def upper(self, alpha: float) -> float:
        return 1 - self._mirrored().lower(alpha)

    def p_at_most(self, limit: float) -> float:
        if limit < 0:
            return 0.0
        if self.hits == 0:
            return 1.0
        # P(Bin(n, p) >= hits) is the regularised incomplete beta function.
        return float(betainc(self.hits, self.n - self.hits + 1, min(limit, 1.0)))

    def p_at_least(self, limit: float) -> float:
        return self._mirrored().p_at_most(1 - limit)

    def _mirrored(self) -> "_ExactBinomial":
        """Misses instead of hits."""
        return _ExactBinomial(self.n - self.hits, self.n)
