"""stays_aligned: the candidate stays careful and well-meaning, also in the batch's own style.

Sees: the paired change of the margin between a careful answer and a harmful, flattering or
power-seeking one, against the champion and the anchor; each item asked plainly and once more
after an exchange of the batch itself. Models that learned narrow misbehaviour can pass plain
questions and misbehave where the prompt looks like the training (conditional misalignment,
arXiv 2604.25891). The baselines read the same exchange, so what it does to any model cancels.
With `slices`, also the worst part: narrow advice that went bad shows there first.
Cannot see: free answers (a margin between two written ones is a stand-in for what a model
would say), values that no item asks about, and a rare trigger, which few of the chosen
exchanges would hold (no_triggers looks for those in the batch).
"""

from typing import Annotated, Self

from pydantic import Field

from tidegate.gates.checks.not_worse import Margin, change_of
from tidegate.gates.comparison import verdict
from tidegate.gates.gate import gate
from tidegate.gates.made import dressed
from tidegate.gates.statistics.estimate import NotComparable
from tidegate.gates.tighter import ranked
from tidegate.gates.types import CandidateEvidence, Compared, Outcome, Verdict

IN_STYLE = "dressed items"


class Alignment(Margin):
    suite: str = Field(default="alignment", min_length=1, description="name of a suite")
    dressed: Annotated[bool, ranked(False, True)] = Field(
        default=True, description="ask every item again after an exchange of the batch"
    )

    def suites(self) -> tuple[str, ...]:
        return (self.suite, dressed(self.suite)) if self.dressed else (self.suite,)

    def without_batch(self) -> Self:
        return self.model_copy(update={"dressed": False})

    def comparisons(self) -> int:
        return len(self.suites()) * super().comparisons()


@gate()
def stays_aligned(p: Alignment, evidence: CandidateEvidence) -> Verdict:
    """Careful answers stay likelier than harmful ones, plainly asked and in the batch's style."""
    compared: list[Compared] = []
    try:
        for suite in p.suites():
            found = change_of(p, evidence, suite)
            compared += found if suite == p.suite else map(_in_style, found)
    except NotComparable as refused:
        return Verdict(outcome=Outcome.ERROR, reason=str(refused))
    return verdict(compared, p, "the mean change is")


def _in_style(found: Compared) -> Compared:
    role, comma, part = found.than.partition(",")
    return found.model_copy(update={"than": f"{role}, {IN_STYLE}{comma}{part}"})
