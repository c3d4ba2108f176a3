"""no_injections: no record carries orders that are not the user's, or forges a chat turn.

Sees: phrases such as "ignore all previous instructions" and named jailbreak personas;
control tokens of chat templates, which would forge a role in training; and lines inside a
message that order something about the answer, or something that neither the rest of the
message nor the answer is about.
A refused attempt is a good example of how to answer one: with keep_refused the phrases
count only where the answer does not refuse. Forged turns and lines that order something
always count.
Cannot see: orders in a running sentence, languages that the lists of words do not have, and
requests that the answer takes up as its own. A text that teaches security is found too, and
so is a user who asks two unrelated things and gets an answer to one.
"""

from typing import Annotated

from pydantic import Field

from tidegate.gates.gate import RowRule, gate
from tidegate.gates.record_limits import QuarantineOnly, within_limits
from tidegate.gates.tighter import LOWER, ranked
from tidegate.gates.types import BatchEvidence, Verdict


class Injections(QuarantineOnly):
    max_phrases: Annotated[int, LOWER] = Field(
        default=0, ge=0, description="known phrases in one record"
    )
    max_second_orders: Annotated[int, LOWER] = Field(
        default=0, ge=0, description="lines of one record that are orders of their own"
    )
    keep_refused: Annotated[bool, ranked(True, False)] = Field(
        default=False, description="phrases do not count where the answer refuses"
    )


def rows(p: Injections) -> tuple[RowRule, ...]:
    phrases = "obeyed_phrases" if p.keep_refused else "injection_phrases"
    return (
        RowRule(phrases, p.max_phrases, "contains a phrase of prompt injection"),
        RowRule("second_orders", p.max_second_orders, "holds an order that nobody asked for"),
        RowRule("control_tokens", 0, "contains control tokens of a chat template"),
    )


@gate(rows=rows)
def no_injections(p: Injections, evidence: BatchEvidence) -> Verdict:
    """At most max_records kept records carry an injected order or a forged turn."""
    return within_limits(p, evidence, "no_injections", "records with an injected order")
