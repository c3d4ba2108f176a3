"""serves: the candidate can be loaded from what was stored, and answers.

Sees: whether every weight is finite, whether the stored adapter gives the same logits as
the one that was measured, and whether greedy answers to a few prompts are empty. Where the
policy sets a limit also how long one token takes, alone on this machine, and how many answers
had not ended after sixteen tokens.
Cannot see: whether the answers are any good, latency under load, or other hardware.
"""

from typing import Annotated

from pydantic import Field

from tidegate.gates.gate import Params, gate
from tidegate.gates.tighter import LOWER
from tidegate.gates.types import CandidateEvidence, Outcome, Verdict


class Serving(Params):
    max_difference: Annotated[float, LOWER] = Field(
        default=1e-3, gt=0, description="largest logit difference"
    )
    max_empty_share: Annotated[float, LOWER] = Field(
        default=0.05, ge=0, le=1, description="of probe prompts"
    )
    max_megabytes: Annotated[float, LOWER] = Field(
        default=512, gt=0, description="size of the adapter"
    )
    max_seconds_per_token: Annotated[float | None, LOWER] = Field(
        default=None, gt=0, description="of one greedy answer at a time, on this machine"
    )
    max_unended_share: Annotated[float | None, LOWER] = Field(
        default=None, ge=0, le=1, description="of probe prompts, after sixteen tokens"
    )

    def served(self) -> bool:
        return True


@gate()
def serves(p: Serving, evidence: CandidateEvidence) -> Verdict:
    """The stored candidate loads, gives the logits that were measured, and answers."""
    limits = {
        "serves.non_finite_weights": (0.0, "weights that are not finite:"),
        "serves.reload_difference": (
            p.max_difference,
            "largest logit difference after reload:",
        ),
        "serves.empty_share": (p.max_empty_share, "share of prompts with an empty answer:"),
        "serves.megabytes": (p.max_megabytes, "size of the adapter in MB:"),
    }
    if p.max_seconds_per_token is not None:
        limits["serves.seconds_per_token"] = (p.max_seconds_per_token, "seconds for one token:")
    if p.max_unended_share is not None:
        limits["serves.unended_share"] = (
            p.max_unended_share,
            "share of prompts whose answer does not end:",
        )
    for name, (limit, what) in limits.items():
        observed = evidence[name].value
        if not observed <= limit:  # so that a NaN does not pass
            reason = f"{what} {observed:.4g} exceeds {limit:.4g}"
            return Verdict(outcome=Outcome.FAIL, reason=reason, observed=observed, limit=limit)
    difference = evidence["serves.reload_difference"].value
    reason = f"loads from its files with a logit difference of {difference:.2g}, and answers"
    return Verdict(
        outcome=Outcome.PASS, reason=reason, observed=difference, limit=p.max_difference
    )
