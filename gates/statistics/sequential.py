"""Stopping early without cheating: a confidence sequence for a mean, valid at every look.

Candidate and baseline answer the same items in a fixed random order. After each chunk the
gate looks: is the mean difference surely above its limit, or surely below? A test made for
one look errs far more often than it says when it is asked again and again. This one bets
against "the mean is at most m": a fair game if that is true, so wealth that ever grows to
1/alpha is seen with probability at most alpha (Ville's inequality), however often one
looks and whatever makes one stop. No asymptotics, no variance to be known.

One bet of share f turns the wealth into wealth * (1 + f * (x - m) / (m + bound)) at each
item. All of it (f = 1) is lost on an item at -bound, and no item in [-bound, inf) leaves a
debt. The bets are five fixed shares, and the wealth is their weighted mean: nothing is
tuned on the data. The other direction is the same game played with -x.
Source: Waudby-Smith & Ramdas (2024), "Estimating means of bounded random variables by
betting", JRSS B 86(1), section 4; a fixed mixture of bets instead of their plug-in.

What is guaranteed, exactly:
 * Items are taken as independent draws from a population of such items, in an order that
   does not depend on their results. That a suite is finite is not used: the claim is about
   items of this kind, not about the rest of this list.
 * If the mean of max(x, -bound) is at most m, then p_at_most(m) <= alpha is ever seen with
   probability at most alpha. If the mean of min(x, bound) is at least m, the same holds of
   p_at_least(m). Gains do not count against the first, nor losses against the second.
 * So the bound is a promise: no item loses more than that many units. A rare loss beyond
   it that has not been seen yet is outside this and every other test.
 * Once one is seen, the promise is broken: p_at_most is 1 and lower() is -inf from then on,
   and only the whole suite can say that the candidate is good. Likewise p_at_least and
   upper() after a gain beyond the bound.

For a candidate that equals its baseline, no test that keeps this promise shows a mean above
-margin before ln(1/alpha) / -ln(1 - margin / bound) items: until then rare losses of `bound`
may have hidden. 1.5 nats per token is a fair bound for margins of 0.15: with half of a
false-pass rate of 5 % those are 35 items.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tidegate.gates.statistics.estimate import Estimate, NotComparable, checked_level

# Halved from share to share, and quartered in weight: most of the wealth plays the boldest
# bet, the best one when items spread less than the bound; the rest is for wide spreads.
SHARES = np.array([1, 1 / 2, 1 / 4, 1 / 8, 1 / 16])
WEIGHTS = np.array([256, 64, 16, 4, 1]) / 341

EARLY_SHARE = 0.5  # of each error rate; the rest is kept for the whole suite
HALVINGS = 60  # of the interval in which a bound is sought


@dataclass(frozen=True, eq=False)
class ConfidenceSequence:
    """The differences measured so far, in their order, and what may be said of their mean.

    Bounds and p-values may be asked for after any item, as often as wanted.
    """

    mean: float
    n: int
    method: str
    bound: float
    differences: NDArray[np.float64]

    def lower(self, alpha: float) -> float:
        """The true mean is ever seen below this with probability at most alpha.

        -inf after an item below -bound.
        """
        return _lower(self.differences, self.bound, alpha)

    def upper(self, alpha: float) -> float:
        """The true mean is ever seen above this with probability at most alpha.

        inf after an item above the bound.
        """
        return -_lower(-self.differences, self.bound, alpha)

    def p_at_most(self, limit: float) -> float:
        """Anytime-valid p-value of "the true mean is at most the limit".

        Raises NotComparable unless the limit lies within the bound.
        """
        return _p_value(self.differences, self.bound, limit)

    def p_at_least(self, limit: float) -> float:
        """Anytime-valid p-value of "the true mean is at least the limit".

        Raises NotComparable unless the limit lies within the bound.
        """
        return _p_value(-self.differences, self.bound, -limit)


def confidence_sequence(differences: Sequence[float], *, bound: float) -> ConfidenceSequence:
    """What the differences, in the order measured, say of their mean at any time.

    `bound`, in the unit of the differences, is the most that an item may lose or gain; it
    is 1 for outcomes of 0 and 1, where nothing is assumed. Choose it before the data.
    Raises NotComparable without differences, for values that are not finite, and for a
    bound that is not a positive number.
    """
    values = np.array(differences, dtype=np.float64)
    if not (math.isfinite(bound) and bound > 0):
        raise NotComparable(f"the bound is {bound}; it must be a positive number")
    if values.ndim != 1:
        raise NotComparable(f"the differences have {values.ndim} dimensions; one is needed")
    if values.size == 0:
        raise NotComparable("there are no pairs to compare")
    if not np.isfinite(values).all():
        raise NotComparable("a difference is not a finite number")
    return ConfidenceSequence(
        mean=float(values.mean()),
        n=values.size,
        method="betting confidence sequence",
        bound=bound,
        differences=values,
    )


def settled(
    sequence: Estimate, limit: float, *, false_pass_rate: float, false_block_rate: float
) -> bool:
    """Whether measuring may stop: the mean surely is above the limit, or surely below.

    Early stopping spends EARLY_SHARE of each rate. If nothing was settled by the end of the
    suite, a fixed-sample test may spend the rest there. The sum then keeps the rate as far
    as that test keeps its own.
    """
    good = sequence.p_at_most(limit) <= EARLY_SHARE * false_pass_rate
    return good or sequence.p_at_least(limit) <= EARLY_SHARE * false_block_rate


def _p_value(values: NDArray[np.float64], bound: float, limit: float) -> float:
    if not -bound < limit < bound:
        raise NotComparable(
            f"the limit {limit:+g} is not within the bound of {bound:g}; choose a larger bound"
        )
    above = values + bound
    if above.min() < 0:
        return 1.0
    return math.exp(-max(0.0, _log_wealth(above, limit + bound)))


def _lower(values: NDArray[np.float64], bound: float, alpha: float) -> float:
    """The largest limit that is refused at alpha. The wealth falls as the limit rises."""
    wealth_needed = -math.log(checked_level(alpha))
    above = values + bound
    if above.min() < 0:
        return -math.inf
    refused, kept = 0.0, float(above.max())
    for _ in range(HALVINGS):
        middle = (refused + kept) / 2
        # All items at -bound leave nothing between the two.
        if middle > 0 and _log_wealth(above, middle) >= wealth_needed:
            refused = middle
        else:
            kept = middle
    return refused - bound


def _log_wealth(above: NDArray[np.float64], expected: float) -> float:
    """The most wealth ever had, betting that items exceed what is expected of them.

    `above` counts from -bound, so it is never negative: shape (items,), in their order.
    """
    factors = 1 - SHARES + SHARES * (above[:, None] / expected)
    with np.errstate(divide="ignore"):  # a bet of everything may lose everything
        paths = np.cumsum(np.log(factors), axis=0)
    return float(np.logaddexp.reduce(paths + np.log(WEIGHTS), axis=1).max())
