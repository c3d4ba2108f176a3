"""The arithmetic that decides: bounds on paired differences. Pure numpy and scipy.

Differences are always `candidate - baseline` with the sign chosen so that positive means
better. A gate compares the bad end of an interval with its limit, never the middle:

 * non-inferior: the lower bound at level 1 - false_pass_rate is above -margin;
 * inferior: the upper bound at level 1 - false_block_rate is below -margin;
 * otherwise nothing was shown, and more items or a person must say.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

MIN_PAIRS = 8  # below this the t interval is a guess about the tails


class NotComparable(ValueError):
    """Two series that cannot be paired, and why."""


@dataclass(frozen=True)
class Bounds:
    """A mean and its one-sided bounds, each at a level of its own."""

    mean: float
    lower: float
    upper: float
    n: int


def paired_mean(differences: Sequence[float], *, below: float, above: float) -> Bounds:
    """One-sided bounds of the mean of paired differences by Student's t.

    `below` and `above` are the probabilities that the true mean lies under the lower or
    over the upper bound: mean -/+ t(1 - p, n - 1) * s / sqrt(n).
    Raises NotComparable for fewer than MIN_PAIRS pairs and for values that are not finite.
    Source: Student (1908); for its use on paired model scores, Miller (2024),
    "Adding Error Bars to Evals", arXiv 2411.00640.
    """
    values = np.asarray(differences, dtype=np.float64)
    n = values.size
    if n < MIN_PAIRS:
        raise NotComparable(
            f"{n} pairs are too few to compare; at least {MIN_PAIRS} are needed"
        )
    if not np.isfinite(values).all():
        raise NotComparable("a difference is not a finite number")
    mean = float(values.mean())
    error = float(values.std(ddof=1)) / math.sqrt(n)
    return Bounds(
        mean=mean,
        lower=mean - float(stats.t.ppf(1 - below, n - 1)) * error,
        upper=mean + float(stats.t.ppf(1 - above, n - 1)) * error,
        n=n,
    )


def smallest_visible_loss(differences: Sequence[float], *, alpha: float, power: float) -> float:
    """The margin that a clean update would pass with this power, given the spread seen.

    (t(1 - alpha) + t(power)) * s / sqrt(n): the usual sample-size formula for one-sided
    non-inferiority of a paired mean, solved for the margin (Chow, Shao & Wang 2008, 3.1).
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.size < MIN_PAIRS:
        raise NotComparable(f"{values.size} pairs are too few")
    error = float(values.std(ddof=1)) / math.sqrt(values.size)
    freedom = values.size - 1
    return float(stats.t.ppf(1 - alpha, freedom) + stats.t.ppf(power, freedom)) * error


def clopper_pearson(hits: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Exact two-sided interval of a proportion (Clopper & Pearson 1934)."""
    interval = stats.binomtest(hits, n).proportion_ci(confidence, method="exact")
    return float(interval.low), float(interval.high)
