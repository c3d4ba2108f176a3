"""no_injections: no record carries a known phrase of prompt injection or forges a chat turn.

Sees: keywords only: phrases such as "ignore all previous instructions", named jailbreak
personas, and control tokens of chat templates, which would forge a role in training.
Cannot see: instructions in ordinary words, which is what most indirect injections are. A
text that teaches security is found too.
"""

from typing import Annotated

from pydantic import Field

from tidegate.gates.gate import RowRule, gate
from tidegate.gates.record_limits import QuarantineOnly, within_limits
from tidegate.gates.tighter import LOWER
from tidegate.gates.types import BatchEvidence, Verdict


class Injections(QuarantineOnly):
    max_phrases: Annotated[int, LOWER] = Field(
        default=0, ge=0, description="known phrases in one record"
    )


def rows(p: Injections) -> tuple[RowRule, ...]:
    return (
        RowRule("injection_phrases", p.max_phrases, "contains a phrase of prompt injection"),
        RowRule("control_tokens", 0, "contains control tokens of a chat template"),
    )


@gate(rows=rows)
def no_injections(p: Injections, evidence: BatchEvidence) -> Verdict:
    """At most max_records kept records carry a known phrase of injection or a forged turn."""
    return within_limits(p, evidence, "no_injections", "records with an injection phrase")
