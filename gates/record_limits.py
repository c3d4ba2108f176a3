"""What every data gate that names single records has in common."""

from typing import Self

from pydantic import model_validator

from tidegate.gates.gate import RowParams, at_most
from tidegate.gates.types import BatchEvidence, Outcome, Verdict


class QuarantineOnly(RowParams):
    """For findings that cannot be cut out of a record: it is dropped, or it stays."""

    @model_validator(mode="after")
    def _cannot_mask(self) -> Self:
        if self.mask:
            raise ValueError("what this gate finds cannot be masked; use quarantine: true")
        return self


def within_limits(
    p: RowParams, evidence: BatchEvidence, gate: str, what: str, *, for_review: float = 0
) -> Verdict:
    """PASS if few enough hits are left among the kept, and few enough were quarantined.

    for_review: hits that were left on purpose, and that somebody else judges.
    """
    hits = evidence[f"data.{gate}.hits"]
    left = evidence[f"data.{gate}.left"]
    share = evidence[f"data.{gate}.quarantined_share"]
    kept = at_most(
        left.value - for_review, p.max_records, f"{what} left among the kept records:"
    )
    if kept.outcome is not Outcome.PASS:
        return kept
    lost = at_most(share.value, p.max_quarantined_share, f"share quarantined for {what}:")
    if lost.outcome is not Outcome.PASS:
        return lost
    reason = f"{kept.reason} ({hits.value:.0f} before routing)"
    return kept.model_copy(update={"reason": reason})
