"""The mean of several suites' means, each suite counting the same whatever its size.

Suites have unequal variances and sizes, so the interval is Welch's: the variance of the mean
of means is (1/S^2) sum_s s_s^2/n_s, with Satterthwaite's degrees of freedom (Welch 1947).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import stdtr, stdtrit

from tidegate.gates.statistics.estimate import checked_level, checked_pairs


@dataclass(frozen=True)
class _Welch:
    mean: float
    n: int
    error: float  # of the mean; 0 if no value differs within its suite
    freedom: float
    method: str = "Welch over suites"

    def lower(self, alpha: float) -> float:
        return self.mean - self._t(alpha) * self.error

    def upper(self, alpha: float) -> float:
        return self.mean + self._t(alpha) * self.error

    def p_at_most(self, limit: float) -> float:
        return self._p(limit - self.mean)

    def p_at_least(self, limit: float) -> float:
        return self._p(self.mean - limit)

    def _t(self, alpha: float) -> float:
        return float(stdtrit(self.freedom, 1 - checked_level(alpha)))

    def _p(self, distance: float) -> float:
        if self.error == 0:
            return 0.0 if distance < 0 else 1.0
        return float(stdtr(self.freedom, distance / self.error))


def mean_of_means(suites: Sequence[Sequence[float]]) -> tuple[_Welch, _Welch]:
    """Two estimates: without gains, and with them.

    In the first a suite that gained counts as 0. Clipping moves a mean no further than the
    mean itself moves, so the spread of the second bounds that of the first.
    Raises NotComparable for a suite with too few values or with one that is not finite, and
    ValueError for no suites.
    """
    if not suites:
        raise ValueError("there are no suites to take a mean of")
    values = [checked_pairs(suite) for suite in suites]
    means = [float(v.mean()) for v in values]
    parts = [float(v.var(ddof=1)) / v.size / len(values) ** 2 for v in values]
    variance = math.fsum(parts)
    below = math.fsum(part**2 / (v.size - 1) for part, v in zip(parts, values, strict=True))
    n, error = sum(v.size for v in values), math.sqrt(variance)
    freedom = variance**2 / below if below else n - 1.0
    lost = math.fsum(min(0.0, mean) for mean in means) / len(means)
    net = math.fsum(means) / len(means)
    return _Welch(lost, n, error, freedom), _Welch(net, n, error, freedom)
