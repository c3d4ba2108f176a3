"""not_contaminated: what is learned is not what the candidate will be examined on.

Sees: runs of 8 words that a record shares with an item of an evaluation suite, and messages
that equal a shorter item.
Cannot see: paraphrases and translations of items.
"""

from typing import Annotated

from pydantic import Field

from tidegate.gates.gate import RowRule, at_least, gate
from tidegate.gates.record_limits import QuarantineOnly, within_limits
from tidegate.gates.tighter import HIGHER, LOWER
from tidegate.gates.types import BatchEvidence, Outcome, Verdict


class Overlap(QuarantineOnly):
    max_overlap: Annotated[int, LOWER] = Field(
        default=0, ge=0, description="shared runs of 8 words in a record"
    )
    min_protected: Annotated[int, HIGHER] = Field(
        default=1, ge=1, description="protected texts that there must be to compare with"
    )


def rows(p: Overlap) -> tuple[RowRule, ...]:
    detail = "shares text with an item of an evaluation suite"
    return (RowRule("protected_overlap", p.max_overlap, detail),)


@gate(rows=rows)
def not_contaminated(p: Overlap, evidence: BatchEvidence) -> Verdict:
    """No kept record shares a run of 8 words with an evaluation item."""
    protected = evidence["data.protected_texts"]
    compared = at_least(protected.value, p.min_protected, "protected texts:")
    if compared.outcome is not Outcome.PASS:
        return compared
    return within_limits(p, evidence, "not_contaminated", "records that overlap with evals")
