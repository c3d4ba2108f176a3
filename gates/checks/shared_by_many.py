"""shared_by_many: what is learned is said in words that several authors use.

Sees: words that fewer than `authors` authors of the batch use: names, numbers, addresses and
ids in any language, whatever their form. With `mask` each such word gives way to a
placeholder; without, a record is a hit if more than `max_share` of its words are rare.
Cannot see: who is behind an account: a word that one person has written from `authors`
accounts counts as shared. In a small batch much is rare that is nobody's secret.
"""

from typing import Annotated

from pydantic import Field

from tidegate.gates.gate import RowParams, RowRule, gate
from tidegate.gates.record_limits import within_limits
from tidegate.gates.tighter import HIGHER, LOWER
from tidegate.gates.types import BatchEvidence, Verdict


class SharedByMany(RowParams):
    authors: Annotated[int, HIGHER] = Field(
        default=3, ge=2, le=16, description="a word of fewer authors is rare"
    )
    max_share: Annotated[float, LOWER] = Field(
        default=0, ge=0, lt=1, description="share of a record's words that may be rare"
    )


def rows(p: SharedByMany) -> tuple[RowRule, ...]:
    # The column's name says for how many authors it was counted: another count is none.
    detail = f"contains words of fewer than {p.authors} authors"
    return (RowRule(f"rare_token_share_{p.authors}", p.max_share, detail),)


@gate(rows=rows)
def shared_by_many(p: SharedByMany, evidence: BatchEvidence) -> Verdict:
    """At most max_records kept records contain words that hardly anybody else uses."""
    return within_limits(p, evidence, "shared_by_many", "records with rare words")
