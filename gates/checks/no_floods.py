"""no_floods: no few authors repeat one thing until it is learned.

Sees: groups of records with the same prompt, or the same or nearly the same response, that
have far fewer authors than as many records drawn from the batch by chance would have
(flood_ratio = expected / observed authors). Answers that many people get, such as a
greeting or a label, have the authors that chance gives them, and pass.
Cannot see: a flood in which every record has another author, or rewording beyond a
similarity of about 0.5. One busy account with a fixed template looks like a flood.
"""

from typing import Annotated

from pydantic import Field

from tidegate.gates.gate import RowRule, gate
from tidegate.gates.record_limits import QuarantineOnly, within_limits
from tidegate.gates.tighter import LOWER
from tidegate.gates.types import BatchEvidence, Verdict


class Floods(QuarantineOnly):
    max_ratio: Annotated[float, LOWER] = Field(
        default=2.0, ge=1, description="expected over observed authors of a group"
    )


def rows(p: Floods) -> tuple[RowRule, ...]:
    detail = "one of many alike records from few authors"
    return (RowRule("flood_ratio", p.max_ratio, detail),)


@gate(rows=rows)
def no_floods(p: Floods, evidence: BatchEvidence) -> Verdict:
    """No group of alike kept records has max_ratio times fewer authors than chance gives."""
    return within_limits(p, evidence, "no_floods", "records of a flood")
