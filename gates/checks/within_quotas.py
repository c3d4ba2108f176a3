"""within_quotas: each tier of trust teaches its share, and each author a bounded part.

Sees: sources and lanes, which make a record's tier (the first in the policy that fits); the
tier's share of what is kept, an author's records in the tier, his text over all tiers, and
his records in all earlier updates of this home. Past a limit the first are kept, in an order
that is hashed with a secret, so that nobody chooses which.
Cannot see: one person behind many accounts. Tokens are a quarter of the bytes, not counted.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tidegate.gates.gate import RowRule, gate
from tidegate.gates.record_limits import QuarantineOnly, within_limits
from tidegate.gates.tighter import LOWER, Direction
from tidegate.gates.types import BatchEvidence, Noun, Verdict

LaneName = Literal["signed", "edited", "unsigned", "repeated"]  # the forged belong to no tier


class Tier(Noun):
    """Records that are trusted alike."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")
    sources: list[str] | None = Field(
        default=None, min_length=1, description="none: every source"
    )
    lanes: list[LaneName] | None = Field(
        default=None, min_length=1, description="none: every lane but the forged"
    )
    max_share: float = Field(default=1.0, gt=0, le=1, description="of what is kept")
    max_per_author: int | None = Field(
        default=None, ge=1, description="records of one author in this tier"
    )

    def allows(self, other: "Tier") -> bool:
        """Whether `other` has the same members and no higher limits."""
        same = ("name", "sources", "lanes")
        return (
            all(getattr(self, name) == getattr(other, name) for name in same)
            and other.max_share <= self.max_share
            and (
                self.max_per_author is None
                or (other.max_per_author or self.max_per_author + 1) <= self.max_per_author
            )
        )


def _no_looser(parent: object, child: object) -> bool:
    if not isinstance(parent, list) or not isinstance(child, list):
        return False
    return len(parent) == len(child) and all(
        p.allows(c) for p, c in zip(parent, child, strict=True)
    )


TIERS = Direction(_no_looser, "may only have lower limits on the same tiers", open=False)


class Quota(QuarantineOnly):
    tiers: Annotated[list[Tier], TIERS] = Field(
        min_length=1,
        description="in order; a record belongs to the first that fits, or is a hit",
    )
    max_tokens_per_author: Annotated[int | None, LOWER] = Field(
        default=None, ge=1, description="of prompts and responses, taken as four bytes each"
    )
    max_lifetime_per_author: Annotated[int | None, LOWER] = Field(
        default=None, ge=1, description="records in this and all earlier promoted updates"
    )

    @model_validator(mode="after")
    def _can_be_met(self) -> Self:
        names = [tier.name for tier in self.tiers]
        if len(set(names)) < len(names):
            raise ValueError("two tiers have one name")
        if sum(tier.max_share for tier in self.tiers) < 1:
            raise ValueError(
                "the tiers' max_share add up to less than 1: no batch has them all"
            )
        return self


def rows(p: Quota) -> tuple[RowRule, ...]:
    rules = [RowRule("tier", len(p.tiers) - 1, "the record belongs to no tier")]
    for tier in p.tiers:
        if tier.max_share < 1:
            detail = f"the tier {tier.name} has more than its share"
            rules.append(RowRule(f"tier_{tier.name}_share", tier.max_share, detail))
        if tier.max_per_author is not None:
            detail = f"the author has more records in the tier {tier.name} than the cap"
            rules.append(RowRule(f"tier_{tier.name}_author_rank", tier.max_per_author, detail))
    if p.max_tokens_per_author is not None:
        detail = "the author has more text than the cap"
        rules.append(RowRule("author_tokens", p.max_tokens_per_author, detail))
    if p.max_lifetime_per_author is not None:
        detail = "the author has taught more records over all updates than the cap"
        rules.append(RowRule("author_lifetime", p.max_lifetime_per_author, detail))
    return tuple(rules)


@gate(rows=rows)
def within_quotas(p: Quota, evidence: BatchEvidence) -> Verdict:
    """No tier has more than its share of what is kept, and no author more than the caps."""
    return within_limits(p, evidence, "within_quotas", "records beyond a quota")
