"""Pairs between which there is nothing to find, judged by the policy's own gates.

Twin i stands as the candidate, twin i - 1 as champion and as anchor. No disk, no model.
"""

import math
import statistics
from collections.abc import Sequence

from tidegate.flows.calibrating.twins import Measured
from tidegate.gates.checks.learned import Gain
from tidegate.gates.checks.reaches import Level
from tidegate.gates.comparison import Changes, paired
from tidegate.gates.decide import how_sure, judge
from tidegate.gates.gate import Comparing
from tidegate.gates.made import is_made
from tidegate.gates.policy.calibration import CalibrationError, GateCalibration
from tidegate.gates.policy.nouns import Policy
from tidegate.gates.statistics.estimate import NotComparable
from tidegate.gates.statistics.power import smallest_visible_loss
from tidegate.gates.types import (
    CandidateEvidence,
    Measurement,
    MissingEvidence,
    Outcome,
)

JUDGED = (Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE)


def calibrated(policy: Policy) -> dict[str, Comparing]:
    """The gates that A/A runs say something of, by title: all that compare, but none that
    asks for a gain, since a twin gains nothing over its twin."""
    plain = {use.title: use.params.without_batch() for use in policy.model}
    return {
        title: params
        for title, params in plain.items()
        if isinstance(params, Comparing)
        and not isinstance(params, Gain)
        # Made from a batch: there is none to ask about between two twins.
        and not any(map(is_made, params.suites()))
    }


def judged_alike(
    policy: Policy, titles: Sequence[str], pairs: Sequence[tuple[Measured, Measured]]
) -> list[dict[str, Outcome]]:
    """What every pair (candidate, baseline) came to, by the titles of the gates.

    Holm's procedure sees the comparisons of these gates only. With the others, which are
    left out, it would block a little less often. Raises CalibrationError where a gate could
    not judge: what was not compared is no evidence of rare blocks.
    """
    asked = _only(policy, frozenset(titles))
    stages = []
    for now, before in pairs:
        rulings = judge(asked, _evidence(now, before))
        for ruling in rulings:
            if ruling.verdict.outcome not in JUDGED:
                raise CalibrationError(f"{ruling.title}: {ruling.verdict.reason}")
        stages.append({ruling.title: ruling.verdict.outcome for ruling in rulings})
    return stages


def gate_calibration(
    policy: Policy,
    params: Comparing,
    *,
    pairs: Sequence[tuple[Measured, Measured]],
    outcomes: Sequence[Outcome],
    update: tuple[Measured, Measured],
    repeats: Sequence[tuple[Measured, Measured]],
) -> GateCalibration:
    """What pairs of twins, an update beside its parent, and the parent measured again show.

    The smallest detectable regression is that of the paired t test, for the spread of an
    ordinary update and all items of the suite. Where the policy may stop early, the whole
    suite is judged on the part of the error rate that is left.
    """
    between = [_changes(params, *pair) for pair in pairs]
    again = [_changes(params, *pair) for pair in repeats]
    if isinstance(params, Level):
        sd_update = _level_spread(params, update[0])
    else:
        sd_update = _spread(_changes(params, *update))
    how = how_sure(policy)
    n = len(between[0].values)
    return GateCalibration(
        n=n,
        sd_twin=statistics.median(_spread(changes) for changes in between),
        sd_update=sd_update,
        noise_floor=_largest([*between, *again]),
        smallest_detectable=smallest_visible_loss(
            sd_update,
            n,
            alpha=how.false_pass_rate * (1 - how.early_share),
            power=policy.statistics.power,
        ),
        passes=outcomes.count(Outcome.PASS),
        fails=outcomes.count(Outcome.FAIL),
        inconclusive=outcomes.count(Outcome.INCONCLUSIVE),
    )


def repeat_noise(
    gates: Sequence[Comparing], repeats: Sequence[tuple[Measured, Measured]]
) -> float:
    """The largest mean change, over all gates, of one model measured again."""
    return _largest([_changes(params, *pair) for params in gates for pair in repeats])


def _largest(changes: Sequence[Changes]) -> float:
    return max(abs(statistics.fmean(one.values)) for one in changes)


def _only(policy: Policy, titles: frozenset[str]) -> Policy:
    """The policy with these model gates alone, and its parents likewise: both rule."""
    return policy.model_copy(
        update={
            "model": tuple(
                use.model_copy(update={"params": use.params.without_batch()})
                for use in policy.model
                if use.title in titles
            ),
            "parent": _only(policy.parent, titles) if policy.parent else None,
        }
    )


def _evidence(now: Measured, before: Measured) -> CandidateEvidence:
    return CandidateEvidence(
        subject=now.model,
        measurements=(
            *_as(now, "candidate"),
            *_as(before, "champion"),
            *_as(before, "anchor"),
        ),
    )


def _as(measured: Measured, role: str) -> list[Measurement]:
    return [m.model_copy(update={"name": f"{m.name}@{role}"}) for m in measured.measurements]


def _changes(params: Comparing, now: Measured, before: Measured) -> Changes:
    try:
        return paired(_evidence(now, before), params.suite, params.metric, "champion")
    except (NotComparable, MissingEvidence) as refused:
        raise CalibrationError(str(refused)) from None


def _spread(changes: Changes) -> float:
    """The standard deviation; of right and wrong answers sqrt(share of discordant pairs)."""
    if changes.binary:
        return math.sqrt(statistics.fmean(value * value for value in changes.values))
    return statistics.stdev(changes.values)


def _level_spread(params: Level, now: Measured) -> float:
    levels = _evidence(now, now)[f"{params.suite}.{params.metric}@candidate"]
    return statistics.stdev(levels.values)
