"""reaches_consequences: what follows from a new fact is known too, not the sentence alone.

    propagation ratio = right from the weights / right with the fact in view

over implied facts (asked in reverse, one hop on, under another name, denied) that the
champion gets right with the fact written before the question and wrong without it: a model
too small to reason is not blamed, and what was known or guessed before is no credit. The
interval is a bootstrap over facts, since the questions about one fact stand or fall together.
Sources: RippleEdits (Cohen et al. 2024) for the kinds of questions, Berglund et al. 2023 for
the reversal; the ratio is of this project.
Cannot see: consequences that nobody wrote a probe for.
"""

from typing import Annotated

import numpy as np
from pydantic import Field

from tidegate.gates.comparison import matched, verdict
from tidegate.gates.gate import Tested, gate
from tidegate.gates.made import CONSEQUENCES, IN_CONTEXT
from tidegate.gates.statistics.estimate import MIN_PAIRS, NotComparable
from tidegate.gates.tighter import HIGHER
from tidegate.gates.types import CandidateEvidence, Compared, MissingEvidence, Outcome, Verdict

RESAMPLES = 9999
FEWEST_FACTS = 5  # a bootstrap over fewer draws the same few again and again


class Reach(Tested):
    at_least: Annotated[float, HIGHER] = Field(
        default=0.5, gt=0, lt=1, description="propagation ratio, at its lower bound"
    )

    def suites(self) -> tuple[str, ...]:
        return (CONSEQUENCES, IN_CONTEXT)


@gate()
def reaches_consequences(p: Reach, evidence: CandidateEvidence) -> Verdict:
    """Implied facts are right from the weights nearly as often as with the fact in view."""
    try:
        right, before = matched(evidence, f"{CONSEQUENCES}.acc")
    except NotComparable as refused:
        return Verdict(outcome=Outcome.ERROR, reason=str(refused))
    view = evidence[f"{IN_CONTEXT}.acc@champion"]
    in_view = dict(zip(view.items, view.values, strict=True))
    facts = right.slices.get("fact")
    if facts is None:
        raise MissingEvidence(f"the items of {CONSEQUENCES} do not say their fact")
    by_fact: dict[str, list[float]] = {}
    for item, value, was, fact in zip(right.items, right.values, before, facts, strict=True):
        if was == 0 and in_view.get(item) == 1:
            by_fact.setdefault(fact, []).append(value)
    planned = right.planned or 0
    whole = min(len(right.items), len(in_view)) >= planned > 0
    return verdict([_ratio(p, by_fact, whole, planned)], p, "the propagation ratio is")


def _ratio(p: Reach, by_fact: dict[str, list[float]], whole: bool, planned: int) -> Compared:
    n = sum(map(len, by_fact.values()))
    if whole and (n < MIN_PAIRS or len(by_fact) < FEWEST_FACTS):
        raise MissingEvidence(
            f"{n} implied facts about {len(by_fact)} facts are right with the fact in view and "
            f"wrong without; {MIN_PAIRS} about {FEWEST_FACTS} are needed"
        )
    if not whole:
        return _compared(p, 0.0, None, None, 1.0, 1.0, n, planned)
    sums = np.array([sum(values) for values in by_fact.values()])
    counts = np.array([len(values) for values in by_fact.values()])
    draws = np.random.default_rng(0).integers(len(counts), size=(RESAMPLES, len(counts)))
    ratios = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    return _compared(
        p,
        float(sums.sum() / counts.sum()),
        float(np.quantile(ratios, p.how.false_pass_rate)),
        float(np.quantile(ratios, 1 - p.how.false_block_rate)),
        float((1 + np.count_nonzero(ratios <= p.at_least)) / (RESAMPLES + 1)),
        float((1 + np.count_nonzero(ratios >= p.at_least)) / (RESAMPLES + 1)),
        n,
        n,
    )


def _compared(
    p: Reach,
    mean: float,
    low: float | None,
    high: float | None,
    p_pass: float,
    p_block: float,
    n: int,
    planned: int,
) -> Compared:
    return Compared(
        than="on implied facts",
        mean=mean,
        low=low,
        high=high,
        limit=p.at_least,
        n=n,
        planned=planned,
        p_pass=p_pass,
        p_block=p_block,
        method="bootstrap over facts" if low is not None else "not yet compared",
    )
