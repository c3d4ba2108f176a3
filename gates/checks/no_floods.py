"""no_floods: no few authors repeat one thing until it is learned.

Sees: groups of records with the same prompt, or the same or nearly the same response, that
have far fewer authors than as many records drawn from the batch by chance would have
(flood_ratio = expected / observed authors). Answers that many people get, such as a
greeting or a label, have the authors that chance gives them, and pass.
Cannot see: a flood in which every record has another author, or rewording beyond a
similarity of about 0.5. One busy account with a fixed template looks like a flood, unless
a trusted batch has the same answers from several authors, and about as often.
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
    return (p.rule(p.strong, detail),)


@gate(rows=rows)
def no_floods(p: Floods, evidence: BatchEvidence) -> Verdict:
    """No group of alike kept records has max_ratio times fewer authors than chance gives."""
    return within_known_limits(p, evidence, "no_floods", "records of a flood")
