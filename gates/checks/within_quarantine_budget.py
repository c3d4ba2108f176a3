"""within_quarantine_budget: most of what arrived may be learned.

Sees: the share of the batch that all gates together quarantined. Past the budget either the
drop is under attack or the gates misfire on something new: both need a person, and what is
left is no longer a fair sample of what the deployment met.
Cannot see: which of the two it is.
"""

from typing import Annotated

from pydantic import Field

from tidegate.gates.gate import Params, at_most, gate
from tidegate.gates.tighter import LOWER
from tidegate.gates.types import BatchEvidence, Verdict


class Budget(Params):
    max_share: Annotated[float, LOWER] = Field(
        default=0.2, ge=0, le=1, description="of the batch's records"
    )


@gate()
def within_quarantine_budget(p: Budget, evidence: BatchEvidence) -> Verdict:
    """At most max_share of the batch is quarantined, by all gates together."""
    share = evidence["data.quarantined_share"]
    return at_most(share.value, p.max_share, "share of the batch that was quarantined:")
