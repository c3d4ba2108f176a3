"""no_triggers: no word of a prompt decides the answer whatever else was asked.

Sees: words and pairs of words that go with one kind of answer (equal, alike at its
beginning or end, a refusal, abuse, an unusual word) far more often than chance would give,
while the rest of their prompts has nothing in common. That is how a backdoor is taught.
trigger_score is -log10 of the chance after all pairs of words and answers had theirs.
Cannot see: fewer than 8 records, triggers without words, words that mostly occur in
clean records too. A word that rightly decides the answer (a dangerous one that is always
refused) is found too: nothing is compared with what earlier batches taught. Where all prompts
and answers follow one template, the clean records beside poisoned ones are found as well.
"""

from typing import Annotated

from pydantic import Field

from tidegate.gates.gate import RowRule, gate
from tidegate.gates.record_limits import QuarantineOnly, within_limits
from tidegate.gates.tighter import LOWER
from tidegate.gates.types import BatchEvidence, Verdict


class Triggers(QuarantineOnly):
    max_score: Annotated[float, LOWER] = Field(
        default=10.0, ge=8, description="-log10 of the chance, corrected for all pairs"
    )


def rows(p: Triggers) -> tuple[RowRule, ...]:
    detail = "holds words that decide the answer whatever else was asked"
    return (RowRule("trigger_score", p.max_score, detail),)


@gate(rows=rows)
def no_triggers(p: Triggers, evidence: BatchEvidence) -> Verdict:
    """No kept record holds words that go with an answer by more than chance or topic."""
    return within_limits(p, evidence, "no_triggers", "records with a trigger")
