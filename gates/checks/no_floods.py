"""no_floods: no few authors repeat one thing until it is learned.

Sees: groups of records with the same prompt, or the same or nearly the same response, that
have far fewer authors than as many records drawn from the batch by chance would have
(flood_ratio = expected / observed authors); and records whose responses share names or turns
of phrase with others of few authors, however they are worded (claim_ratio). Answers that
many people get, such as a greeting or a label, have the authors that chance gives them, and
pass.
Cannot see: a flood in which every record has another author, or one that is reworded until
nothing but common words is shared. One busy account with a fixed template looks like a
flood, and so do a few colleagues who talk of nothing but their project;
a trusted batch that has the same answers from several authors, and about as often, excuses
the first kind.
"""

from typing import Annotated, ClassVar

from pydantic import Field

from tidegate.gates.gate import RowRule, gate
from tidegate.gates.tighter import LOWER
from tidegate.gates.trusted_limits import Calibrated, within_known_limits
from tidegate.gates.types import BatchEvidence, Verdict


class Floods(Calibrated):
    max_ratio: Annotated[float, LOWER] = Field(
        default=2.0, ge=1, description="expected over observed authors of a group"
    )
    strong: Annotated[float, LOWER] = Field(
        default=4.0, ge=1, description="above it also records of an unseen domain go"
    )

    limit: ClassVar[str] = "max_ratio"
    column: ClassVar[str] = "flood_ratio"


def rows(p: Floods) -> tuple[RowRule, ...]:
    detail = "one of many alike records from few authors"
    claim = "says what few authors bring again and again"
    return (p.rule(p.strong, detail), RowRule("claim_ratio", p.max_ratio, claim))


@gate(rows=rows)
def no_floods(p: Floods, evidence: BatchEvidence) -> Verdict:
    """No group of alike kept records has max_ratio times fewer authors than chance gives."""
    return within_known_limits(p, evidence, "no_floods", "records of a flood")
