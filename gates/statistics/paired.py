"""The mean of paired differences: Student's t, the BCa bootstrap, and the wider of the two.

Each takes the differences of one suite, one number an item, and answers as an Estimate.
The order of the items does not matter. Items are taken as independent draws.

How often a bound with alpha = 0.05 was wrong, in 2,000 simulated suites of 50 items:

    differences                     t        BCa      wider
    normal                          5.8 %    6.2 %    5.5 %
    heavy tails (t, 3 degrees)      5.1 %    7.5 %    5.0 %
    skewed (exponential)            8.5 %    6.7 %    6.7 %
    very skewed (log-normal)       13.7 %    9.6 %    9.6 %
    a tenth discordant (-1, 0, 1)   5.1 %    6.2 %    5.0 %

That is the worse of the two bounds: the one on the side of the long tail. The standard error
of a rate is half a point. More sizes: tests/test_statistics_simulated.py.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from tidegate.gates.statistics.estimate import (
    Estimate,
    checked_level,
    checked_pairs,
)

DRAWS_AT_ONCE = 4_000_000  # indices held in memory while resampling, 8 bytes each
MIN_RESAMPLES = 999
HEAVY_SHARE = 0.25  # of the sum of squares, in the largest hundredth of the values
HEAVY_P = 0.001


def paired_t(differences: Sequence[float]) -> Estimate:
    """Student's t: mean -/+ t(1 - alpha, n - 1) * s / sqrt(n).

    Exact for normal differences, and cautious for symmetric ones with heavy tails. Where
    they are skewed, the bound on the side of the long tail errs more often than it says, the
    other less: a few large losses let a candidate pass too often.
    Differences that are all equal give bounds at that value.
    Raises NotComparable for fewer than MIN_PAIRS pairs and for values that are not finite.
    Source: Student (1908); for its use on paired model scores, Miller (2024),
    "Adding Error Bars to Evals", arXiv 2411.00640.
    """
    values = checked_pairs(differences)
    if _all_equal(values):
        return _Constant(float(values[0]), values.size, "paired t")
    error = float(values.std(ddof=1)) / math.sqrt(values.size)
    return _PairedT(float(values.mean()), values.size, error)


def paired_bca(
    differences: Sequence[float], *, resamples: int = 9999, seed: int = 0
) -> Estimate:
    """The bias-corrected and accelerated bootstrap of the mean. The same seed, the same result.

    A bound at alpha is the quantile of the resampled means at

        Phi(z0 + w / (1 - a w)),  w = z0 + z(alpha)

    with z0 from the share of resampled means below the mean (ties count half) and the
    acceleration a = sum(d^3) / (6 sum(d^2)^1.5), d = value - mean, which is the jackknife's
    for a mean. A p-value is that map inverted, so it agrees with the bounds exactly. With k
    of B resampled means at or past the limit, the share is taken as (k + 1) / (B + 1), and
    no p-value is below 1 / (B + 1). A bound that lies past every resampled mean is infinite:
    the resamples cannot say.

    It follows skewness where t does not. But it spreads as s * sqrt((n - 1) / n) and knows
    no tail that it has not seen, so with few items or heavy tails it errs more often than it
    says.
    Raises NotComparable as `paired_t` does, and ValueError for fewer than 999 resamples.
    Source: Efron (1987), JASA 82:171; DiCiccio & Efron (1996), Statistical Science 11:189;
    for the (k + 1) / (B + 1), Davison & Hinkley (1997), 4.11.
    """
    if resamples < MIN_RESAMPLES:
        raise ValueError(f"{resamples} resamples are too few; take {MIN_RESAMPLES} or more")
    # Sorted: the draws are by position, and the order of arrival must not matter.
    values = np.sort(checked_pairs(differences))
    if _all_equal(values):
        return _Constant(float(values[0]), values.size, "BCa bootstrap")
    mean = float(values.mean())
    means = _resampled_means(values, resamples, seed)
    # Sums of the same values in another order differ in their last bits: still a tie.
    rounding = 1e-12 * float(np.abs(values).max())
    below = np.count_nonzero(means < mean - rounding)
    tied = np.count_nonzero(np.abs(means - mean) <= rounding)
    centered = values - mean
    return _PairedBca(
        mean=mean,
        n=values.size,
        means=means,
        bias=float(ndtri((below + tied / 2) / resamples)),
        acceleration=float((centered**3).sum() / (6 * (centered**2).sum() ** 1.5)),
    )


def paired_wider(
    differences: Sequence[float], *, resamples: int = 9999, seed: int = 0
) -> Estimate:
    """What Student's t and the BCa bootstrap both say: the lower of the lower bounds, the
    higher of the upper bounds, the larger of the p-values.

    Each errs where the other holds: t on skewed differences, the bootstrap on few or
    heavy-tailed ones. Raises what they raise.
    """
    return _Wider(
        paired_t(differences), paired_bca(differences, resamples=resamples, seed=seed)
    )


def heavy_tails(differences: Sequence[float]) -> bool:
    """Whether a few differences carry so much of the spread that intervals mislead.

    True if both hold:
     * the sample kurtosis is above a normal sample's at p < 0.001 (Anscombe & Glynn 1983);
     * the largest hundredth of the values (at least one) has over a quarter of the sum of
       squared deviations.
    Many zeros with a fair number of ones among them raise the kurtosis but not the second.
    Cannot see: a tail that the sample did not catch. For 8 to 19 pairs the test is rough.
    Raises NotComparable as `paired_t` does.
    """
    values = checked_pairs(differences)
    if _all_equal(values):
        return False
    squares = np.sort((values - values.mean()) ** 2)
    largest = squares[-max(1, values.size // 100) :]
    if largest.sum() <= HEAVY_SHARE * squares.sum():
        return False
    # Here and not above: scipy.stats takes most of a second to import, and few suites get here.
    from scipy import stats

    return bool(stats.kurtosistest(values, alternative="greater").pvalue < HEAVY_P)


@dataclass(frozen=True)
class _Constant:
    """Every difference is the same number, so nothing is left to estimate the spread from."""

    mean: float
    n: int
    method: str

    def lower(self, alpha: float) -> float:
        checked_level(alpha)
        return self.mean

    def upper(self, alpha: float) -> float:
        checked_level(alpha)
        return self.mean

    def p_at_most(self, limit: float) -> float:
        return 0.0 if self.mean > limit else 1.0

    def p_at_least(self, limit: float) -> float:
        return 0.0 if self.mean < limit else 1.0


@dataclass(frozen=True)
class _PairedT:
    mean: float
    n: int
    error: float  # of the mean
    method: str = "paired t"

    def lower(self, alpha: float) -> float:
        return self.mean - _t(checked_level(alpha), self.n - 1) * self.error

    def upper(self, alpha: float) -> float:
        return self.mean + _t(checked_level(alpha), self.n - 1) * self.error

    def p_at_most(self, limit: float) -> float:
        return float(stdtr(self.n - 1, (limit - self.mean) / self.error))

    def p_at_least(self, limit: float) -> float:
        return float(stdtr(self.n - 1, (self.mean - limit) / self.error))


@dataclass(frozen=True, eq=False)
class _PairedBca:
    mean: float
    n: int
    means: NDArray[np.float64]  # sorted, shape (resamples,)
    bias: float  # z0
    acceleration: float
    method: str = "BCa bootstrap"

    def lower(self, alpha: float) -> float:
        resamples = self.means.size
        if checked_level(alpha) <= 1 / (resamples + 1):
            return -math.inf
        w = self.bias + float(ndtri(alpha))
        bend = 1 - self.acceleration * w
        # Past the pole of the map the level has already reached its end.
        level = float(ndtr(self.bias + w / bend)) if bend > 0 else float(w > 0)
        rank = min(math.ceil(level * (resamples + 1)) - 1, resamples)
        return float(self.means[rank - 1]) if rank > 0 else -math.inf

    def upper(self, alpha: float) -> float:
        return -self._mirrored().lower(alpha)

    def p_at_most(self, limit: float) -> float:
        if math.isnan(limit):
            return math.nan
        resamples = self.means.size
        reached = int(np.searchsorted(self.means, limit, side="right"))
        if reached == resamples:
            return 1.0
        y = float(ndtri((reached + 1) / (resamples + 1))) - self.bias
        bend = 1 + self.acceleration * y
        p = float(ndtr(y / bend - self.bias)) if bend > 0 else float(y > 0)
        return max(p, 1 / (resamples + 1))

    def p_at_least(self, limit: float) -> float:
        return self._mirrored().p_at_most(-limit)

    def _mirrored(self) -> "_PairedBca":
        """The estimate of the differences with their signs turned."""
        return _PairedBca(
            mean=-self.mean,
            n=self.n,
            means=-self.means[::-1],
            bias=-self.bias,
            acceleration=-self.acceleration,
        )


@dataclass(frozen=True)
class _Wider:
    t: Estimate
    bca: Estimate
    method: str = "wider of paired t and BCa bootstrap"

    @property
    def mean(self) -> float:
        return self.t.mean

    @property
    def n(self) -> int:
        return self.t.n

    def lower(self, alpha: float) -> float:
        return min(self.t.lower(alpha), self.bca.lower(alpha))

    def upper(self, alpha: float) -> float:
        return max(self.t.upper(alpha), self.bca.upper(alpha))

    def p_at_most(self, limit: float) -> float:
        return max(self.t.p_at_most(limit), self.bca.p_at_most(limit))

    def p_at_least(self, limit: float) -> float:
        return max(self.t.p_at_least(limit), self.bca.p_at_least(limit))


def _t(alpha: float, freedom: int) -> float:
    """Student's t that is exceeded with probability alpha."""
    return -float(stdtrit(freedom, alpha))


def _all_equal(values: NDArray[np.float64]) -> bool:
    return bool((values == values[0]).all())


def _resampled_means(
    values: NDArray[np.float64], resamples: int, seed: int
) -> NDArray[np.float64]:
    random = np.random.default_rng(seed)
    means = np.empty(resamples)
    rows = max(1, DRAWS_AT_ONCE // values.size)
    for start in range(0, resamples, rows):
        stop = min(start + rows, resamples)
        drawn = random.integers(values.size, size=(stop - start, values.size))
        means[start:stop] = values[drawn].mean(axis=1)
    means.sort()
    return means
