"""supported_preferences: a correction or a thumbs down is learned if several authors agree.

Sees: how many authors say the same of nearly the same answer to nearly the same question.
With min_supporters: 1 the author alone is enough, and nothing is a hit.
Cannot see: agreement in other words; whether two accounts are two people. What is asked once
is never supported: the rarer the question, the less of its feedback is learned.
"""

from typing import Annotated

from pydantic import Field

from tidegate.gates.gate import RowRule, gate
from tidegate.gates.record_limits import QuarantineOnly, within_limits
from tidegate.gates.tighter import HIGHER
from tidegate.gates.types import BatchEvidence, Verdict


class SupportedPreferences(QuarantineOnly):
    min_supporters: Annotated[int, HIGHER] = Field(
        default=2, ge=1, le=100, description="authors, the record's own included"
    )


def rows(p: SupportedPreferences) -> tuple[RowRule, ...]:
    detail = f"a preference of fewer than {p.min_supporters} authors"
    # Between 1/k and 1/(k - 1): rounding decides nothing.
    return (RowRule("preference_doubt", 1 / (p.min_supporters - 0.5), detail),)


@gate(rows=rows)
def supported_preferences(p: SupportedPreferences, evidence: BatchEvidence) -> Verdict:
    """No kept correction or thumbs down is of fewer than min_supporters authors."""
    return within_limits(p, evidence, "supported_preferences", "unsupported preferences")
