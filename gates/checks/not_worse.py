"""not_worse: what the baselines could do, the candidate can still do.

Sees: the paired per-item change on one suite, against the champion (the last step) and the
anchor (the first blessed release), so that small losses cannot add up unseen.
Cannot see: anything that the suite does not ask about.
"""

from typing import Self

from pydantic import Field, model_validator

from tidegate.gates.comparison import improvements, stays_above
from tidegate.gates.gate import Comparing, gate
from tidegate.gates.statistics import NotComparable
from tidegate.gates.types import CandidateEvidence, Noun, Outcome, Verdict

WORST_FIRST = (Outcome.ERROR, Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.PASS)


class Margins(Noun):
    """The largest mean loss per item that still counts as none, for each baseline."""

    champion: float | None = Field(default=None, gt=0)
    anchor: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _at_least_one(self) -> Self:
        if self.champion is None and self.anchor is None:
            raise ValueError("name a margin for champion, for anchor, or for both")
        return self

    def given(self) -> dict[str, float]:
        return {k: v for k, v in (("champion", self.champion), ("anchor", self.anchor)) if v}


class Margin(Comparing):
    suite: str = Field(min_length=1, description="name of a suite in evals/tasks, or `update`")
    metric: str = Field(default="margin", description="per-item metric of the suite")
    than: Margins

    def about(self) -> str:
        return f"{self.suite}.{self.metric}"

    def comparisons(self) -> int:
        return len(self.than.given())


@gate()
def not_worse(p: Margin, evidence: CandidateEvidence) -> Verdict:
    """The candidate is non-inferior to its baselines on a suite, within a margin."""
    verdicts = [_against(p, evidence, role, margin) for role, margin in p.than.given().items()]
    worst = min(verdicts, key=lambda v: WORST_FIRST.index(v.outcome))
    return worst.model_copy(update={"reason": "; ".join(v.reason for v in verdicts)})


def _against(p: Margin, evidence: CandidateEvidence, role: str, margin: float) -> Verdict:
    try:
        changes = improvements(evidence, p.suite, p.metric, role)
        return stays_above(changes, -margin, p, f"against the {role} the mean change is")
    except NotComparable as refused:
        return Verdict(outcome=Outcome.ERROR, reason=str(refused))
