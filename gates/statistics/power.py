"""What a suite can see: the smallest loss for its items, and the items for a loss.

Asked before measuring: would an update that changes nothing pass a non-inferiority gate
with this margin, at this false-pass rate, with this probability?
"""

import math

from scipy.special import nctdtr, ndtri, stdtrit

from tidegate.gates.statistics.estimate import MIN_PAIRS, NotComparable, checked_level


def smallest_visible_loss(sd: float, n: int, *, alpha: float, power: float) -> float:
    """The margin that a harmless update passes with this power, by the paired t test.

    `sd` is the standard deviation of the paired differences, and the answer has its unit.
    Exact for normal differences: margin = nc * sd / sqrt(n), where the noncentral t
    distribution with n - 1 degrees of freedom and noncentrality nc is above t(1 - alpha)
    with probability `power`.
    For right and wrong answers take sd = sqrt(share of discordant pairs).
    Raises NotComparable for fewer than MIN_PAIRS pairs or a spread that is not finite, and
    ValueError for a power that is not above alpha.
    Source: Julious (2004), Statistics in Medicine 23:1921.
    """
    _check_spread(sd)
    if n < MIN_PAIRS:
        raise NotComparable(f"{n} pairs are too few; at least {MIN_PAIRS} are needed")
    return _noncentrality(n, alpha, power) * sd / math.sqrt(n)


def pairs_needed(sd: float, margin: float, *, alpha: float, power: float) -> int:
    """The fewest pairs whose smallest visible loss is within the margin.

    At least MIN_PAIRS. Raises ValueError for a margin that is not positive.
    """
    _check_spread(sd)
    _check_margin(margin)
    # The normal approximation is a few pairs short; the answer is searched above it.
    few = max(MIN_PAIRS, _normal_pairs(sd, margin, alpha, power))
    while smallest_visible_loss(sd, few, alpha=alpha, power=power) > margin:
        few += 1
    return few


def pairs_needed_binary(
    discordant_share: float, margin: float, *, alpha: float, power: float
) -> int:
    """The pairs that a margin on accuracy needs: (z(1 - alpha) + z(power))^2 share / margin^2.

    `discordant_share` is the share of items on which only one of the two models is right,
    `margin` a difference of proportions (0.01 is one point). At least MIN_PAIRS.
    The usual approximation: the spread is that of an update that changes nothing, also at
    the margin. There Tango's test allows for more spread, so its power falls short: for a
    tenth discordant, alpha 0.025 and power 0.80 it is 79.5 % at 2 points (1,963 pairs) and
    76.3 % at 5 points (314 pairs).
    Raises ValueError for a margin that is not positive and a share outside (0, 1].
    Source: Connor (1987), Biometrics 43:207, with both spreads equal; for the score test
    itself, Nam (1997), Biometrics 53:1422.
    """
    if not 0 < discordant_share <= 1:
        raise ValueError(
            f"a share of discordant pairs must be in (0, 1], not {discordant_share}"
        )
    _check_margin(margin)
    return max(MIN_PAIRS, _normal_pairs(math.sqrt(discordant_share), margin, alpha, power))


def _noncentrality(n: int, alpha: float, power: float) -> float:
    if not checked_level(alpha) < checked_level(power):
        raise ValueError(f"a power of {power} is no better than the error rate {alpha}")
    from scipy.optimize import brentq  # here: it takes a quarter of a second to import

    critical = -float(stdtrit(n - 1, alpha))
    far = critical - float(stdtrit(n - 1, (1 - power) / 2))
    while 1 - nctdtr(n - 1, far, critical) < power:
        far *= 2
    return float(
        brentq(lambda nc: 1 - float(nctdtr(n - 1, nc, critical)) - power, 0, far, xtol=1e-9)
    )


def _normal_pairs(sd: float, margin: float, alpha: float, power: float) -> int:
    z = float(-ndtri(checked_level(alpha)) + ndtri(checked_level(power)))
    return math.ceil((z * sd / margin) ** 2)


def _check_spread(sd: float) -> None:
    if not (math.isfinite(sd) and sd >= 0):
        raise NotComparable(f"a standard deviation of {sd} is not a spread")


def _check_margin(margin: float) -> None:
    if not (math.isfinite(margin) and margin > 0):
        raise ValueError(f"a margin must be positive, not {margin}")
