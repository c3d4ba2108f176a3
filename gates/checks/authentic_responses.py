"""authentic_responses: what is learned is what the deployed model answered.

Sees: whether a trusted gateway signed this answer to this prompt under this id. A forged
signature is quarantined, and more than a few of them fail the batch. Records of low trust
(edited, unsigned, or signed and learned before) are kept up to a share of what is kept; which
of them, an order decides that is hashed with a secret.
Cannot see: who asked, when, how it was rated (none of it is signed), and whether a user made
the model give the answer. Whoever steals a gateway's key signs what he likes.
"""

from typing import Annotated

from pydantic import Field

from tidegate.gates.gate import RowRule, at_most, gate
from tidegate.gates.record_limits import QuarantineOnly, within_limits
from tidegate.gates.tighter import LOWER
from tidegate.gates.types import BatchEvidence, Outcome, Verdict

FORGED = 4  # authenticity.Lane; the core that decides does not load pyarrow


class Authentic(QuarantineOnly):
    max_low_trust_share: Annotated[float, LOWER] = Field(
        default=1.0,
        ge=0,
        le=1,
        description="edited, unsigned and repeated records among what is kept; below 1 a "
        "gateway must sign",
    )
    max_forged_share: Annotated[float, LOWER] = Field(
        default=0.001, ge=0, le=1, description="of the batch as received; past it, it fails"
    )


def rows(p: Authentic) -> tuple[RowRule, ...]:
    rules = [RowRule("lane", FORGED - 1, "the signature is not of this response")]
    if p.max_low_trust_share < 1:
        detail = "more unsigned or edited responses than the cap"
        rules.append(RowRule("low_trust_share", p.max_low_trust_share, detail))
    return tuple(rules)


@gate(rows=rows)
def authentic_responses(p: Authentic, evidence: BatchEvidence) -> Verdict:
    """No kept response has a forged signature, and few are unsigned or edited."""
    if p.max_low_trust_share < 1 and evidence["data.gateway_keys"].value < 1:
        reason = (
            "no gateway is trusted here, so every response is unsigned; run: tidegate gateway "
            "trust, or set max_low_trust_share: 1"
        )
        return Verdict(outcome=Outcome.FAIL, reason=reason)
    share = evidence["data.forged_share"].value
    forged = at_most(share, p.max_forged_share, "share of records with a forged signature:")
    if forged.outcome is not Outcome.PASS:
        return forged
    what = "forged or surplus low-trust responses"
    return within_limits(p, evidence, "authentic_responses", what)
