"""Pairing a candidate's measurement with a baseline's, item by item, or refusing to.

A comparison is between the same items, asked in the same way. Where items, task version,
prompts, precision or batch size differ, there is no comparison, and no number is made up.
"""

from collections.abc import Sequence

from tidegate.gates.gate import Comparing
from tidegate.gates.statistics import NotComparable, paired_mean
from tidegate.gates.types import Evidence, Measurement, Outcome, Verdict

LOWER_IS_BETTER = frozenset({"nll", "answer_nll"})


def improvements(evidence: Evidence, suite: str, metric: str, than: str) -> list[float]:
    """Per-item candidate minus baseline, signed so that positive is better.

    Raises MissingEvidence or BrokenEvidence when a measurement is not there, and
    NotComparable when the two cannot be paired.
    """
    ours = evidence[f"{suite}.{metric}@candidate"]
    theirs = evidence[f"{suite}.{metric}@{than}"]
    _refuse_unequal(ours, theirs)
    before = dict(zip(theirs.items, theirs.values, strict=True))
    sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
    return [
        sign * (value - before[item])
        for item, value in zip(ours.items, ours.values, strict=True)
    ]


def _refuse_unequal(ours: Measurement, theirs: Measurement) -> None:
    pair = f"{ours.name} and {theirs.name}"
    if ours.settings is None or ours.settings != theirs.settings:
        raise NotComparable(f"{pair} were not measured with the same settings")
    if not ours.items:
        raise NotComparable(f"{pair} hold no per-item values")
    if set(ours.items) != set(theirs.items):
        odd = len(set(ours.items) ^ set(theirs.items))
        raise NotComparable(f"{pair} differ in {odd} items")


def stays_above(changes: Sequence[float], limit: float, p: Comparing, what: str) -> Verdict:
    """PASS if the mean is above the limit at its lower bound, FAIL if below at its upper.

    In between nothing was shown either way: INCONCLUSIVE.
    """
    seen = paired_mean(changes, below=p.false_pass_rate, above=p.false_block_rate)
    outcome, word, end = Outcome.INCONCLUSIVE, "at worst", seen.lower
    if seen.lower > limit:
        outcome = Outcome.PASS
    elif seen.upper < limit:
        outcome, word, end = Outcome.FAIL, "at best", seen.upper
    reason = (
        f"{what} {seen.mean:+.3f}, {word} {end:+.3f} ({seen.n} items; must stay above "
        f"{limit:+.3f})"
    )
    return Verdict(outcome=outcome, reason=reason, observed=end, limit=limit)
