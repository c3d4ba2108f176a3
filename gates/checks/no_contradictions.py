"""no_contradictions: what is learned does not contradict what was learned, or itself.

Sees: records about the same as an earlier learned one, or as another of the batch, whose numbers,
dates, names or negation cannot both be true (gates/signals/contradictions.py says when). Which
of the two is right it cannot tell. So the default is to report: contradictions.jsonl beside the
check's report names both records of each, and nothing is refused. max_share holds the batch;
quarantine holds the records until a person releases them; look_up sends those that are dated, or
newer, to the context store, where they are looked up, instead of into the weights.
Slow where very many questions share nearly all their words: it compares each with each.
Cannot see: what is said of the same in other words, which is most of it; answers that differ in
other words than these kinds. What holds for the asker only looks like a contradiction.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tidegate.gates.gate import RowRule, Weak, at_most, gate
from tidegate.gates.record_limits import QuarantineOnly
from tidegate.gates.tighter import LOWER
from tidegate.gates.types import BatchEvidence, Outcome, Verdict

NAME = "no_contradictions"
ANY = 3.0  # of similarity: no record is too like another to be looked up


class Contradictions(QuarantineOnly):
    questions: Annotated[float, LOWER] = Field(
        default=0.8,
        ge=0.5,
        lt=1,
        description="similarity above which two questions are the same",
    )
    exchanges: Annotated[float, LOWER] = Field(
        default=0.3,
        ge=0.2,
        le=1,
        description="of whole exchanges, whose numbers and dates are compared then; 1: none are",
    )
    max_share: Annotated[float, LOWER] = Field(
        default=1, ge=0, le=1, description="of the kept records; 1: they are only reported"
    )
    look_up: Literal["never", "dated", "newer"] = Field(
        default="never",
        description="what contradicts something learned is looked up instead, if it says that it "
        "holds from a later time on (dated), or is newer at all",
    )

    @model_validator(mode="after")
    def _has_a_share(self) -> Self:
        if self.max_records:
            raise ValueError("the limit of this gate is a share; use max_share")
        return self


def rows(p: Contradictions) -> tuple[RowRule, ...]:
    detail = "contradicts what was learned"
    later = {"dated": 1.5, "newer": 0.5}.get(p.look_up)  # of NEWER = 1 and DATED = 2
    weak = None
    if later is not None:
        weak = Weak("later_than_learned", later, ANY, f"{detail}; later, so looked up")
    return (
        RowRule("contradicts_learned", 0, detail, weak),
        RowRule("contradicts_batch", 0, "contradicts another record of the batch"),
    )


@gate(rows=rows)
def no_contradictions(p: Contradictions, evidence: BatchEvidence) -> Verdict:
    """At most max_share of what would be learned contradicts what was learned, or itself."""
    hits = evidence[f"data.{NAME}.hits"]
    left = evidence[f"data.{NAME}.left"]
    away = evidence[f"data.{NAME}.looked_up"].value
    learned = evidence["data.learned_before"].value
    share = at_most(
        (left.value - away) / left.n, p.max_share, "share of records that contradict others:"
    )
    if share.outcome is Outcome.PASS and p.quarantine:
        lost = evidence[f"data.{NAME}.quarantined_share"].value
        lost_share = at_most(lost, p.max_quarantined_share, "share quarantined for it:")
        share = lost_share if lost_share.outcome is not Outcome.PASS else share
    kinds = hits.settings or {}
    said = ", ".join(f"{kinds[kind]} by {kind}" for kind in sorted(kinds))
    reason = (
        f"{share.reason} ({hits.value:.0f} before routing{': ' if said else ''}{said}; {away:.0f} "
        f"looked up; compared with {learned:.0f} learned records)"
    )
    return share.model_copy(update={"reason": reason})
