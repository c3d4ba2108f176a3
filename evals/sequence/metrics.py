"""What a sequence of updates did, from one matrix: pure functions, no model.

`scores[t][i]` is the mean score on the held-out probes of update i after update t (both from
0, T of each), higher is better; `origin[i]` is what the model scored before any update. A
score is a mean margin, log-likelihood or accuracy, so every result here has that unit.

    accuracy     mean over i of scores[T-1][i]                      "ACC"
    backward     mean over i < T-1 of scores[T-1][i] - scores[i][i]  "BWT"; negative: forgotten
    forward      mean over i > 0 of scores[i-1][i] - origin[i]       "FWT"
    forgetting   mean over i < T-1 of max over t < T-1 of scores[t][i] - scores[T-1][i]
    learned      mean over i of scores[i][i] - origin[i]

Sources: accuracy, backward and forward, Lopez-Paz & Ranzato 2017, arXiv 1706.08840, section 2
(their baseline is a model at random initialisation; here it is the origin, which is what the
first update starts from); forgetting, Chaudhry et al. 2018, arXiv 1801.10112, section 3.

Cannot see: whether a score fell because a fact was lost or because the model's style changed;
whether facts of one update are harder than those of another, which moves every difference
between columns but no difference within one.
"""

import math
from collections.abc import Sequence

Matrix = Sequence[Sequence[float]]


class NoSequence(ValueError):
    """Scores from which a metric cannot be computed, and why."""


def accuracy(scores: Matrix) -> float:
    """Mean score on all updates after the last one."""
    _checked(scores)
    return _mean(scores[-1])


def backward(scores: Matrix) -> float:
    """What learning later updates did to earlier ones since they were learned."""
    updates = _checked(scores, least=2)
    return _mean([scores[-1][i] - scores[i][i] for i in range(updates - 1)])


def forgetting(scores: Matrix) -> float:
    """How far each earlier update is below the best it ever was before the last update."""
    updates = _checked(scores, least=2)
    best = [max(row[i] for row in scores[:-1]) for i in range(updates - 1)]
    return _mean([best[i] - scores[-1][i] for i in range(updates - 1)])


def forward(scores: Matrix, origin: Sequence[float]) -> float:
    """What earlier updates did for a later one before it was learned."""
    updates = _checked(scores, origin, least=2)
    return _mean([scores[i - 1][i] - origin[i] for i in range(1, updates)])


def learned(scores: Matrix, origin: Sequence[float]) -> float:
    """What each update gained on its own probes by the time that it was learned."""
    updates = _checked(scores, origin)
    return _mean([scores[i][i] - origin[i] for i in range(updates)])


def _checked(scores: Matrix, origin: Sequence[float] | None = None, *, least: int = 1) -> int:
    updates = len(scores)
    if updates < least:
        raise NoSequence(f"{updates} updates; at least {least} are needed")
    rows = [*scores] if origin is None else [*scores, origin]
    for row in rows:
        if len(row) != updates:
            raise NoSequence(f"a row has {len(row)} scores for {updates} updates")
        if not all(math.isfinite(value) for value in row):
            raise NoSequence("a score is not a finite number")
    return updates


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
