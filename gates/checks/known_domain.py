"""known_domain: the batch speaks of what the trusted batch speaks of.

Sees: the share of records most of whose words and pairs of words several authors of a
trusted earlier batch do not use. domain_unknown is 1 where 99 % of that batch's own records
stay within. What the statistical gates know of chance was learned in that domain; past the
limit their word counts for little, and a person decides. No record is refused for it.
Cannot see: known words in a new sense, a new domain within known words, one that is a small
part of the batch. A trusted batch of few records knows little, and much seems new to it.
"""

from typing import Annotated, Self

from pydantic import Field, model_validator

from tidegate.gates.gate import RowParams, RowRule, at_most, gate
from tidegate.gates.tighter import LOWER
from tidegate.gates.trusted_limits import TRUSTED, UNSEEN
from tidegate.gates.types import BatchEvidence, Verdict


class Domain(RowParams):
    max_share: Annotated[float, LOWER] = Field(
        default=0.05, ge=0, le=1, description="of the kept records, from an unseen domain"
    )

    @model_validator(mode="after")
    def _refuses_nobody(self) -> Self:
        if self.mask or self.quarantine:
            raise ValueError(
                "nothing is wrong with a record of a new domain; leave mask and quarantine out"
            )
        return self


def rows(p: Domain) -> tuple[RowRule, ...]:
    detail = "speaks of what the trusted batch does not know"
    return (RowRule("domain_unknown", UNSEEN, detail),)


@gate(rows=rows)
def known_domain(p: Domain, evidence: BatchEvidence) -> Verdict:
    """At most max_share of the kept records are from a domain the trusted batch lacks."""
    evidence[TRUSTED]
    left = evidence["data.known_domain.left"]
    return at_most(left.value / left.n, p.max_share, "share of records of an unseen domain:")
