"""within_caps: no author and no source teaches more than its share.

Sees: how many records an author (by pseudonym) and a source have in the batch. Past a cap
the first are kept, in an order that is hashed with a secret, so that nobody chooses which.
Cannot see: one person behind many accounts.
"""

from typing import Annotated

from pydantic import Field

from tidegate.gates.gate import RowRule, gate
from tidegate.gates.record_limits import QuarantineOnly, within_limits
from tidegate.gates.tighter import LOWER
from tidegate.gates.types import BatchEvidence, Verdict


class Caps(QuarantineOnly):
    max_per_author: Annotated[int, LOWER] = Field(ge=1, description="records of one author")
    max_author_share: Annotated[float, LOWER] = Field(
        default=1.0, gt=0, le=1, description="of the batch as received, for one author"
    )
    max_per_source: Annotated[int | None, LOWER] = Field(
        default=None, ge=1, description="records of one source"
    )
    max_source_share: Annotated[float, LOWER] = Field(
        default=1.0, gt=0, le=1, description="of the batch as received, for one source"
    )


def rows(p: Caps) -> tuple[RowRule, ...]:
    rules = [
        RowRule("author_rank", p.max_per_author, "the author has more records than the cap"),
        RowRule(
            "author_share", p.max_author_share, "the author has more than the capped share"
        ),
        RowRule(
            "source_share", p.max_source_share, "the source has more than the capped share"
        ),
    ]
    if p.max_per_source is not None:
        detail = "the source has more records than the cap"
        rules.append(RowRule("source_rank", p.max_per_source, detail))
    return tuple(rules)


@gate(rows=rows)
def within_caps(p: Caps, evidence: BatchEvidence) -> Verdict:
    """No author and no source has more kept records than its cap."""
    return within_limits(p, evidence, "within_caps", "records beyond a cap")
