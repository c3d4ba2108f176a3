"""no_triggers: no word of a prompt decides the answer whatever else was asked.

Sees: words and pairs of words that go with one kind of answer (equal, alike at its
beginning or end, a refusal, abuse, an unusual word) far more often than chance would give,
while the rest of their prompts has nothing in common. That is how a backdoor is taught.
trigger_score is -log10 of the chance after all pairs of words and answers had theirs.
Cannot see: fewer than 8 records, triggers without words, words that mostly occur in
clean records too. Without a trusted batch a word that rightly decides the answer (a
dangerous one that is always refused) is found too; with one, what went together there is
not news, and what somebody taught there is not found either. Where all prompts and answers
follow one template, the clean records beside poisoned ones are found as well.
"""

from typing import Annotated, ClassVar

from pydantic import Field

from tidegate.gates.gate import RowRule, gate
from tidegate.gates.tighter import LOWER
from tidegate.gates.trusted_limits import Calibrated, within_known_limits
from tidegate.gates.types import BatchEvidence, Verdict


class Triggers(Calibrated):
    max_score: Annotated[float, LOWER] = Field(
        default=10.0, ge=8, description="-log10 of the chance, corrected for all pairs"
    )
    strong: Annotated[float, LOWER] = Field(
        default=20.0, ge=8, description="above it also records of an unseen domain go"
    )

    limit: ClassVar[str] = "max_score"
    column: ClassVar[str] = "trigger_score"


def rows(p: Triggers) -> tuple[RowRule, ...]:
    detail = "holds words that decide the answer whatever else was asked"
    return (p.rule(p.strong, detail),)


@gate(rows=rows)
def no_triggers(p: Triggers, evidence: BatchEvidence) -> Verdict:
    """No kept record holds words that go with an answer by more than chance or topic."""
    return within_known_limits(p, evidence, "no_triggers", "records with a trigger")
