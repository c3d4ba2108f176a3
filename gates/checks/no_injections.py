"""no_injections: no record carries orders that are not the user's, or forges a chat turn.

Sees: phrases such as "ignore all previous instructions" and named jailbreak personas;
control tokens of chat templates, which would forge a role in training; and lines inside a
message that order something about the answer, or something that neither the rest of the
message nor the answer is about.
Cannot see: orders in a running sentence, other languages than English, and requests that
the answer takes up as its own. A text that teaches security is found too, and so is a user
who asks two unrelated things and gets an answer to one.
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
    max_second_orders: Annotated[int, LOWER] = Field(
        default=0, ge=0, description="lines of one record that are orders of their own"
    )


def rows(p: Injections) -> tuple[RowRule, ...]:
    return (
        RowRule("injection_phrases", p.max_phrases, "contains a phrase of prompt injection"),
        RowRule("second_orders", p.max_second_orders, "holds an order that nobody asked for"),
        RowRule("control_tokens", 0, "contains control tokens of a chat template"),
    )


@gate(rows=rows)
def no_injections(p: Injections, evidence: BatchEvidence) -> Verdict:
    """At most max_records kept records carry an injected order or a forged turn."""
    return within_limits(p, evidence, "no_injections", "records with an injected order")
