"""learned: the update taught what it was meant to teach.

Sees: the gain on held-out questions about the batch, against the champion (superiority).
Cannot see: whether the new knowledge reaches its consequences, and, where the questions
are template rewordings instead of people's, whether it holds far from the batch's wording.
"""

from typing import Annotated

from pydantic import Field

from tidegate.gates.comparison import compare, paired, verdict
from tidegate.gates.gate import Comparing, gate
from tidegate.gates.statistics.estimate import NotComparable
from tidegate.gates.tighter import HIGHER
from tidegate.gates.types import CandidateEvidence, Outcome, Verdict


class Gain(Comparing):
    suite: str = Field(
        default="update", min_length=1, description="name of a suite, or `update`"
    )
    metric: str = Field(default="answer_nll", description="per-item metric of the suite")
    at_least: Annotated[float, HIGHER] = Field(ge=0, description="smallest mean gain per item")


@gate()
def learned(p: Gain, evidence: CandidateEvidence) -> Verdict:
    """The candidate gains at least this much on held-out questions about the batch."""
    try:
        gains = paired(evidence, p.suite, p.metric, "champion")
        return verdict([compare(gains, p.at_least, p.how)], p, "the mean gain is")
    except NotComparable as refused:
        return Verdict(outcome=Outcome.ERROR, reason=str(refused))
