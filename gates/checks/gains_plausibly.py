"""gains_plausibly: no suite improves by more than training on something else can explain.

Sees: a mean gain over the champion past a cap, which is what a leaked exam, a changed
scorer or swapped labels look like.
Cannot see: a leak that is worth less than the cap.
"""

from typing import Annotated

from pydantic import Field

from tidegate.gates.comparison import Changes, compare, paired, verdict
from tidegate.gates.gate import Comparing, gate
from tidegate.gates.statistics.estimate import NotComparable
from tidegate.gates.tighter import LOWER
from tidegate.gates.types import CandidateEvidence, Outcome, Verdict


class Cap(Comparing):
    at_most: Annotated[float, LOWER] = Field(gt=0, description="largest mean gain per item")


@gate()
def gains_plausibly(p: Cap, evidence: CandidateEvidence) -> Verdict:
    """The candidate does not gain more than this on a suite that the batch is not about."""
    try:
        gains = paired(evidence, p.suite, p.metric, "champion")
        # A cap on gains is a margin on losses, seen from the other side.
        mirrored = Changes(
            than="champion",
            items=gains.items,
            values=tuple(-value for value in gains.values),
            planned=gains.planned,
            binary=gains.binary,
        )
        return verdict(
            [compare(mirrored, -p.at_most, p.how)], p, "the mean gain, counted as a loss, is"
        )
    except NotComparable as refused:
        return Verdict(outcome=Outcome.ERROR, reason=str(refused))
