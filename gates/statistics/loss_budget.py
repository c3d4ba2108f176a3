"""How much several suites lost together, watched while they are measured.

    used = (1/S) sum_s max(0, -mean_s)        is it surely below the limit?

One bet for each suite, as in sequential.py: against "suite s lost u_s or more" its wealth is
E_s(u_s). If the suites truly lost u_1 … u_S, every E_s(u_s) is a fair game, and so is their
product, whatever decides which suite is asked next (the items of different suites are drawn
independently). Nobody knows how a forbidden sum is shared between the suites, so the product
counts for the split that it speaks against least; a suite that did not lose joins no bet, so a
gain pays for nothing. Ville's inequality then holds at every look. The split is sought on a
grid, with every u_s rounded down, which only makes the product smaller.

Why not each suite's own bound, summed: seven bounds at a seventh of the error rate each need
over a hundred items where the product needs twenty.
Sees: sums of many small losses, after few items. Cannot see: that a sum is too large (that
takes whole suites), and losses of items beyond the bound.
Source: Waudby-Smith & Ramdas (2024), JRSS B 86(1); products of e-values: Vovk & Wang (2021),
"E-values: calibration, combination and applications", Annals of Statistics 49(3).
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tidegate.gates.statistics.estimate import NotComparable, checked_level
from tidegate.gates.statistics.sequential import SHARES, WEIGHTS

CELLS = 40  # of the grid, in the limit of one suite

Floats = NDArray[np.float64]


class LossBudget:
    """The changes of several suites so far, against one limit of their mean loss.

    suites: for each its changes in the order measured, all in one unit; a loss is negative.
    limit: the mean loss over the suites that must not be reached. bound: the most that an item
    may lose, in the same unit. Raises NotComparable for no suites, a suite without values,
    values that are not finite, and a limit that is not between 0 and the bound.
    """

    def __init__(
        self, suites: Sequence[Sequence[float]], *, limit: float, bound: float
    ) -> None:
        if not 0 < limit < bound:
            raise NotComparable(f"the limit {limit:g} is not between 0 and the bound {bound:g}")
        self.values = [np.array(suite, dtype=np.float64) for suite in suites]
        if not self.values or not all(v.size for v in self.values):
            raise NotComparable("a suite has no pairs to compare")
        if not all(np.isfinite(v).all() for v in self.values):
            raise NotComparable("a difference is not a finite number")
        self.bound, self.step = bound, limit / CELLS
        self._evidence = self._against_sums()

    def p_at_least(self, used: float) -> float:
        """Anytime-valid p-value of "the suites lost that much or more"; 1 past the bound."""
        # Each of S losses is rounded down by less than a step, so their sum by less than S.
        cells = math.floor(used / self.step * len(self.values)) - len(self.values) + 1
        if cells < 1:
            return 1.0
        known = self._evidence[min(cells, self._evidence.size - 1)]
        return math.exp(-max(0.0, float(known)))

    def upper(self, alpha: float) -> float:
        """The loss is ever truly above this with probability at most alpha; inf if unknown."""
        needed = -math.log(checked_level(alpha))
        enough = np.flatnonzero(self._evidence >= needed)
        if not enough.size:
            return math.inf
        return float(enough[0] + len(self.values)) * self.step / len(self.values)

    def _against_sums(self) -> Floats:
        """For each sum of losses, in cells, the log-wealth against its likeliest split or more.

        Shape (sums,). The splits of a sum are searched by adding one suite after the other.
        """
        if any(v.min() < -self.bound for v in self.values):
            return np.zeros(1)  # the promise of a bound is broken: nothing is known
        # A wide bound may not make the grid wide: a loss beyond is counted as the last cell.
        most = 2 * len(self.values) * CELLS
        cells = min(math.ceil(self.bound / self.step), most + 1)
        total = np.zeros(1)
        for values in self.values:
            own = self._against_losses(values, cells)
            joined = np.full(total.size + cells - 1, np.inf)
            for cell, wealth in enumerate(own):
                part = joined[cell : cell + total.size]
                np.minimum(part, total + wealth, out=part)
            total = joined
        # A forbidden sum may also be larger than asked about.
        return np.minimum.accumulate(total[::-1])[::-1][: most + 1]

    def _against_losses(self, values: Floats, cells: int) -> Floats:
        """Log-wealth against "this suite lost so many cells or more", shape (cells,)."""
        lost = np.arange(1, cells) * self.step
        ahead = (values[:, None] + self.bound) / (self.bound - lost)  # (items, cells - 1)
        factors = 1 - SHARES + SHARES * ahead[..., None]
        with np.errstate(divide="ignore"):  # a bet of everything may lose everything
            paths = np.log(factors).sum(axis=0)
        wealth = np.logaddexp.reduce(paths + np.log(WEIGHTS), axis=1)
        return np.concatenate([[0.0], wealth])  # of no loss nothing is bet
