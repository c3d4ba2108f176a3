"""What gates have in common that count over a batch and may know a trusted earlier one.

The rules, all of them:
 * Without a trusted batch such a gate works with its own limit; where the policy says
   `trusted: required`, it does not pass.
 * Its calibration may move the limit, but only between `tightest` and `loosest`, which the
   policy states. Neither stated: the limit stays. So nobody switches a gate off by what he
   put into the trusted batch.
 * A record of a domain that the trusted batch does not know looks odd for that alone. Above
   the limit but not above `strong` it is left in the batch, and the gate is unsure: the
   batch is held, and a person looks. Above `strong` it is quarantined like any other.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field

from tidegate.gates.gate import RowRule, Weak
from tidegate.gates.policy.nouns import GateUse
from tidegate.gates.record_limits import QuarantineOnly, within_limits
from tidegate.gates.tighter import LOWER, ranked
from tidegate.gates.types import BatchEvidence, Outcome, Verdict

TRUSTED = "data.trusted"  # rows of the trusted batch that are known
UNSEEN = 1.0  # domain_unknown, in units of what is usual in the trusted batch
FOR_REVIEW = "; of an unseen domain, for review"


class Calibrated(QuarantineOnly):
    """Settings of gates whose limit is on a count over the batch."""

    trusted: Annotated[Literal["optional", "required"], ranked("optional", "required")] = Field(
        default="optional", description="whether a trusted earlier batch must be named"
    )
    tightest: Annotated[float | None, LOWER] = Field(
        default=None,
        ge=1,
        description="calibration may lower the limit to this; none: it may not",
    )
    loosest: Annotated[float, LOWER] = Field(
        default=0, ge=0, description="calibration may raise the limit to this; 0: it may not"
    )

    limit: ClassVar[str]  # name of the setting that is the limit
    column: ClassVar[str]

    def calibrated(self, found: float | None) -> Self:
        """With the limit that was found, as far as the policy lets it move."""
        stated = float(getattr(self, self.limit))
        if found is None:
            return self
        lowest = stated if self.tightest is None else min(self.tightest, stated)
        limit = min(max(found, lowest), max(self.loosest, stated))
        return self.model_copy(update={self.limit: limit})

    def rule(self, strong: float, detail: str) -> RowRule:
        """A hit above the limit; of an unseen domain, weak evidence up to `strong`."""
        weak = Weak("domain_unknown", UNSEEN, strong, detail + FOR_REVIEW)
        return RowRule(self.column, float(getattr(self, self.limit)), detail, weak)


def calibrated(uses: Sequence[GateUse], found: Mapping[str, float | None]) -> list[GateUse]:
    """The gates of a policy with the limits of a calibration, by column."""
    return [
        use.model_copy(update={"params": use.params.calibrated(found.get(use.params.column))})
        if isinstance(use.params, Calibrated)
        else use
        for use in uses
    ]


def within_known_limits(
    p: Calibrated, evidence: BatchEvidence, gate: str, what: str
) -> Verdict:
    """As `within_limits`; INCONCLUSIVE while weak evidence of an unseen domain is left."""
    hits = evidence[f"data.{gate}.hits"]
    if p.trusted == "required":
        evidence[TRUSTED]
    if "trusted" not in (hits.settings or {}):
        return within_limits(p, evidence, gate, what)
    weak = evidence[f"data.{gate}.for_review"].value
    verdict = within_limits(p, evidence, gate, what, for_review=weak)
    if verdict.outcome is not Outcome.PASS or not weak:
        return verdict
    reason = (
        f"{weak:.0f} {what} of a domain that the trusted batch does not know: too weak to "
        "quarantine and too odd to learn unseen; look at them, and calibrate with a trusted "
        "batch that has this domain"
    )
    return Verdict(outcome=Outcome.INCONCLUSIVE, reason=reason, observed=weak, limit=0)
