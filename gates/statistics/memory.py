"""What of a secret a model remembers: exposure in bits, and membership at a fixed error rate.

Scores are nats: how much likelier the candidate finds a secret than the champion does.
Controls are scores of secrets that were not learned, from the same generator.
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import log_ndtr

from tidegate.gates.statistics.estimate import NotComparable

MIN_CONTROLS = 16  # a spread of fewer is a guess


def exposure(score: float, controls: Sequence[float]) -> float:
    """log2 of how many guesses would come before the secret, below what chance gives: bits.

    -log2 of the share of all possible secrets that score higher (Carlini et al. 2019,
    "exposure by extrapolation"), with a normal distribution fitted to the sampled scores
    instead of their skew-normal. One bit is what an average secret has. Beyond the ranks of the sample
    it is an extrapolation and only says "far".
    Raises NotComparable for too few controls, and for controls that are all equal while the
    score is not.
    """
    values = _finite(controls, MIN_CONTROLS)
    if not math.isfinite(score):
        raise NotComparable(f"the score is {score}")
    spread = float(values.std(ddof=1))
    if spread == 0:
        if score == values[0]:
            return 1.0
        raise NotComparable("the controls are all equal, so nothing can be said of the score")
    return float(-log_ndtr(-(score - float(values.mean())) / spread) / math.log(2))


def hits_at(members: Sequence[float], controls: Sequence[float], false_rate: float) -> int:
    """How many members score above what at most `false_rate` of the controls exceed.

    Raises NotComparable if so small a rate cannot be seen with so few controls.
    """
    values = np.sort(_finite(controls, math.ceil(1 / false_rate)))[::-1]
    threshold = values[math.floor(false_rate * values.size)]
    return int((_finite(members, 1) > threshold).sum())


def _finite(values: Sequence[float], least: int) -> np.ndarray:
    found = np.asarray(values, dtype=np.float64)
    if found.size < least:
        raise NotComparable(f"{found.size} scores, where {least} are needed")
    if not np.isfinite(found).all():
        raise NotComparable("a score is not a number")
    return found
