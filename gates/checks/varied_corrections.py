"""varied_corrections: what users correct differs from case to case.

Sees: corrections of different answers to different questions that all add nearly the same:
a name, a link, a refusal, an insult (correction_likeness = mean cosine of what they add,
less that of the questions or of the champion's answers). The champion's own answer is the
reference: what it said anyway counts for nothing.
Cannot see: additions of one or two words, such as a swapped name; what corrections leave out; fewer
than 8 alike; lies that differ. Edited answers that are not handed over as corrections have
no original to compare with, and are not looked at. A fixed closing phrase of one editor is
found too.
"""

from typing import Annotated

from pydantic import Field

from tidegate.gates.gate import RowRule, gate
from tidegate.gates.record_limits import QuarantineOnly, within_limits
from tidegate.gates.tighter import LOWER
from tidegate.gates.types import BatchEvidence, Verdict


class VariedCorrections(QuarantineOnly):
    max_likeness: Annotated[float, LOWER] = Field(
        default=0.2, gt=0, lt=1, description="mean cosine, less that of what was corrected"
    )


def rows(p: VariedCorrections) -> tuple[RowRule, ...]:
    detail = "one of many corrections that add the same to different answers"
    return (RowRule("correction_likeness", p.max_likeness, detail),)


@gate(rows=rows)
def varied_corrections(p: VariedCorrections, evidence: BatchEvidence) -> Verdict:
    """No kept correction belongs to a group that adds the same to unlike answers."""
    return within_limits(p, evidence, "varied_corrections", "corrections from one mould")
