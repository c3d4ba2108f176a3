"""learned: the update taught what it was meant to teach.

Sees: the gain on held-out questions about the batch, against the champion.
Cannot see: whether the new knowledge reaches its consequences, and, where the questions
are template rewordings instead of people's, whether it holds far from the batch's wording.
"""

from pydantic import Field

from tidegate.gates.comparison import improvements, stays_above
from tidegate.gates.gate import Comparing, gate
from tidegate.gates.statistics import NotComparable
from tidegate.gates.types import CandidateEvidence, Outcome, Verdict


class Gain(Comparing):
    suite: str = "update"
    metric: str = Field(default="answer_nll", description="per-item metric of the suite")
    at_least: float = Field(ge=0, description="smallest mean gain per item")

    def about(self) -> str:
        return f"{self.suite}.{self.metric}"


@gate()
def learned(p: Gain, evidence: CandidateEvidence) -> Verdict:
    """The candidate gains at least this much on held-out questions about the batch."""
    try:
        gains = improvements(evidence, p.suite, p.metric, "champion")
        return stays_above(gains, p.at_least, p, "the mean gain over the champion is")
    except NotComparable as refused:
        return Verdict(outcome=Outcome.ERROR, reason=str(refused))
