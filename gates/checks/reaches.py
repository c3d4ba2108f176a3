"""reaches: the candidate is at least this good, whatever its baselines are.

Sees: the level on one suite: for 0/1 metrics with the exact bound of a proportion
(Clopper & Pearson 1934), for others with the bound of a mean.
Cannot see: how the level came about, and anything that the suite does not ask about.
"""

from typing import Annotated

from pydantic import Field

from tidegate.gates.comparison import BINARY, LOWER_IS_BETTER, Changes, compare, verdict
from tidegate.gates.gate import Comparing, gate
from tidegate.gates.statistics.estimate import NotComparable
from tidegate.gates.tighter import HIGHER
from tidegate.gates.types import CandidateEvidence, Outcome, Verdict


class Level(Comparing):
    metric: str = Field(default="acc", description="per-item metric of the suite")
    at_least: Annotated[float, HIGHER] = Field(
        description="smallest mean; of a loss, where lower is better, its negative"
    )


@gate()
def reaches(p: Level, evidence: CandidateEvidence) -> Verdict:
    """The candidate reaches an absolute level on a suite."""
    measured = evidence[f"{p.suite}.{p.metric}@candidate"]
    sign = -1.0 if p.metric in LOWER_IS_BETTER else 1.0
    level = Changes(
        than="the limit itself",
        items=measured.items,
        values=tuple(sign * value for value in measured.values),
        planned=len(measured.items) if measured.planned is None else measured.planned,
        binary=p.metric in BINARY,
        absolute=True,
    )
    try:
        return verdict([compare(level, p.at_least, p.how)], p, "the mean is")
    except NotComparable as refused:
        return Verdict(outcome=Outcome.ERROR, reason=str(refused))
