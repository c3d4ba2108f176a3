"""What every statistical method here answers: a mean, its bounds, and two p-values.

Differences are always `candidate - baseline` with the sign chosen so that positive means
better. A gate compares the bad end of an interval with its limit, never the middle:

 * non-inferior: `lower(false_pass_rate)` is above -margin, so `p_at_most(-margin)` is small;
 * inferior: `p_at_least(-margin)` is small even after Holm's correction over the stage;
 * otherwise nothing was shown, and more items or a person must say.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

MIN_PAIRS = 8  # below this every interval here is a guess about the tails


class NotComparable(ValueError):
    """Two series that cannot be compared, and why."""


class Estimate(Protocol):
    """A mean and what can be said of the true mean, by one method.

    Bounds and p-values belong together: `p_at_most(limit) < alpha` exactly when
    `lower(alpha) > limit`, and `p_at_least(limit) < alpha` exactly when
    `upper(alpha) < limit`, up to rounding at the point of equality. Bounds are in the unit
    of the differences; alpha lies strictly between 0 and 1, or ValueError is raised.
    """

    @property
    def mean(self) -> float:
        """Of the differences that were measured."""
        ...

    @property
    def n(self) -> int:
        """How many pairs, or items, the mean is of."""
        ...

    @property
    def method(self) -> str:
        """The name of the method, for reports."""
        ...

    def lower(self, alpha: float) -> float:
        """The true mean is below this with probability at most alpha."""
        ...

    def upper(self, alpha: float) -> float:
        """The true mean is above this with probability at most alpha."""
        ...

    def p_at_most(self, limit: float) -> float:
        """p-value of "the true mean is at most `limit`". Small: it is above."""
        ...

    def p_at_least(self, limit: float) -> float:
        """p-value of "the true mean is at least `limit`". Small: it is below."""
        ...


def checked_pairs(differences: Sequence[float]) -> NDArray[np.float64]:
    """The differences as float64, shape (n,).

    Raises NotComparable for fewer than MIN_PAIRS pairs and for values that are not finite.
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1:
        raise NotComparable(f"the differences have {values.ndim} dimensions; one is needed")
    if values.size < MIN_PAIRS:
        raise NotComparable(
            f"{values.size} pairs are too few to compare; at least {MIN_PAIRS} are needed"
        )
    if not np.isfinite(values).all():
        raise NotComparable("a difference is not a finite number")
    return values


def checked_level(alpha: float) -> float:
    """alpha itself. Raises ValueError unless it lies strictly between 0 and 1."""
    if not 0 < alpha < 1:
        raise ValueError(f"an error rate must lie strictly between 0 and 1, not at {alpha}")
    return alpha
