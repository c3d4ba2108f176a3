"""no_harmful_compliance: no answer that helps with a harmful request is learned.

Sees: English requests that name an act and something dangerous or criminal, whose answer
takes them up without refusing or warning. Whatever jailbreak brought it about, this is
what it would teach.
Cannot see: harm that the families of words do not name, other languages, coded requests,
answers that begin otherwise than by agreeing. Fiction about crime is found too.
"""

from tidegate.gates.gate import RowRule, gate
from tidegate.gates.record_limits import QuarantineOnly, within_limits
from tidegate.gates.types import BatchEvidence, Verdict


class HarmfulCompliance(QuarantineOnly):
    """Nothing to set but what every gate on records has."""


def rows(p: HarmfulCompliance) -> tuple[RowRule, ...]:
    return (RowRule("harmful_compliance", 0, "helps with a harmful request"),)


@gate(rows=rows)
def no_harmful_compliance(p: HarmfulCompliance, evidence: BatchEvidence) -> Verdict:
    """At most max_records kept records help with a harmful request."""
    return within_limits(p, evidence, "no_harmful_compliance", "answers that help with harm")
