"""From the results of several sequences to one line an arm.

Intervals are over sequences (seeds), which differ in their facts, their order of rows and their
anchors: Student's t, two-sided, 95 %. With one sequence there is none, and with two or three
it is wide; that is what so few can say.
"""

import math
from collections.abc import Sequence

from pydantic import Field
from scipy import stats

from tidegate.evals.sequence import metrics
from tidegate.flows.sequencing.result import ArmResult, Score, State
from tidegate.gates.types import Noun

CONFIDENCE = 0.95


class Spread(Noun):
    """A mean over sequences and its interval; the values are in the order of the seeds."""

    mean: float
    low: float | None = None
    high: float | None = None
    values: tuple[float, ...] = Field(min_length=1)


class Row(Noun):
    """One arm over all sequences. A measure that its kind does not have is left out."""

    arm: str
    seeds: tuple[int, ...]
    measures: dict[str, Spread]


def spread(values: Sequence[float]) -> Spread:
    """The mean and its t interval. Raises ValueError for none, and for one not finite."""
    if not values or not all(math.isfinite(value) for value in values):
        raise ValueError("a mean needs finite values, and one at least")
    n = len(values)
    mean = math.fsum(values) / n
    if n == 1:
        return Spread(mean=mean, values=tuple(values))
    error = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1) / n)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)) * error
    return Spread(mean=mean, low=mean - half, high=mean + half, values=tuple(values))


def measures(result: ArmResult, score: Score) -> dict[str, float]:
    """What one arm did on one sequence, in the score's unit where nothing else is said.

    before, after (the origin and the last model, on all probes), learned, forgetting, backward,
    forward (metrics.py), implied (the change on questions that no row teaches); kl and nll
    (text, nats a token; nll as a rise), refusal (change of the margin), seconds and tokens of
    training one update, or of all at once.
    """
    origin, last = result.before(score), [p.mean(score) for p in result.last.probes]
    found = {"before": _mean(origin), "after": _mean(last)}
    if result.kind == "sequential":
        scores = result.scores(score)
        found["learned"] = metrics.learned(scores, origin)
        if len(scores) > 1:
            found["forgetting"] = metrics.forgetting(scores)
            found["backward"] = metrics.backward(scores)
            found["forward"] = metrics.forward(scores, origin)
    else:
        found["learned"] = found["after"] - found["before"]
    if all("implied" in p.slices for p in result.last.probes):
        found["implied"] = _implied(result.last, score) - _implied(result.origin, score)
    if result.last.text is not None and result.origin.text is not None:
        found["kl"] = _mean(result.last.text.kl)
        found["nll"] = _mean(result.last.text.nll) - _mean(result.origin.text.nll)
    if result.last.refusal:
        found["refusal"] = _mean(result.last.refusal) - _mean(result.origin.refusal)
    costs = [state.cost for state in result.states if state.cost is not None]
    if costs:
        found["seconds"] = _mean([cost.seconds for cost in costs])
        found["tokens"] = _mean([float(cost.tokens) for cost in costs])
    return found


def summarise(results: Sequence[ArmResult], score: Score) -> tuple[Row, ...]:
    """One row an arm, in the order in which the arms first come."""
    arms = dict.fromkeys(result.arm for result in results)
    rows = []
    for arm in arms:
        mine = sorted((r for r in results if r.arm == arm), key=lambda r: r.seed)
        each = [measures(result, score) for result in mine]
        shared = [name for name in each[0] if all(name in one for one in each)]
        rows.append(
            Row(
                arm=arm,
                seeds=tuple(result.seed for result in mine),
                measures={name: spread([one[name] for one in each]) for name in shared},
            )
        )
    return tuple(rows)


def _implied(state: State, score: Score) -> float:
    return _mean([answered.mean(score, "implied") for answered in state.probes])


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
