"""no_duplicates: an exchange is learned a few times at most, not as often as it was sent.

Sees: exchanges that are equal but for case, punctuation and white space; the first
max_copies are kept, in an order that nobody can choose.
Cannot see: reworded copies. Groups of near copies are what no_floods looks at.
"""

from typing import Annotated

from pydantic import Field

from tidegate.gates.gate import RowRule, gate
from tidegate.gates.record_limits import QuarantineOnly, within_limits
from tidegate.gates.tighter import LOWER
from tidegate.gates.types import BatchEvidence, Verdict


class Copies(QuarantineOnly):
    max_copies: Annotated[int, LOWER] = Field(
        default=3, ge=1, description="equal exchanges that may be learned"
    )


def rows(p: Copies) -> tuple[RowRule, ...]:
    return (RowRule("copy_rank", p.max_copies, f"more than {p.max_copies} equal exchanges"),)


@gate(rows=rows)
def no_duplicates(p: Copies, evidence: BatchEvidence) -> Verdict:
    """No exchange occurs more than max_copies times among the kept records."""
    return within_limits(p, evidence, "no_duplicates", "further copies of an exchange")
