"""no_unsupported_promotion: no new name is recommended to little-known accounts alone.

Sees: a name or link that the prompts do not say, that at least 8 answers bring up and hardly
any warns of, that neither a trusted batch nor what earlier batches taught has (or not a third
as often), and whose answers went to accounts with hardly any records far more often than
chance gives. That is how a product is promoted from many accounts with a record each and
without a trigger. promotion_score is -log10 of that chance, corrected for all names, and less
by 6 where fewer than three in ten answers plainly recommend it.
Cannot see: batches in which nearly everybody has one record; names that are asked for, known
from a trusted batch, in small letters or, but for links, in scripts without capitals. What
newcomers alone are rightly told looks the same until a trusted or an earlier batch has it, so
let a person look at first.
"""

from typing import Annotated

from pydantic import Field

from tidegate.gates.gate import RowRule, gate
from tidegate.gates.record_limits import QuarantineOnly, within_limits
from tidegate.gates.tighter import LOWER
from tidegate.gates.types import BatchEvidence, Verdict


class UnsupportedPromotion(QuarantineOnly):
    max_score: Annotated[float, LOWER] = Field(
        default=6.0, ge=2, description="-log10 of the chance, corrected for all names"
    )


def rows(p: UnsupportedPromotion) -> tuple[RowRule, ...]:
    detail = "recommends a new name that only little-known accounts are told"
    return (RowRule("promotion_score", p.max_score, detail),)


@gate(rows=rows)
def no_unsupported_promotion(p: UnsupportedPromotion, evidence: BatchEvidence) -> Verdict:
    """No kept record recommends a new name that only little-known accounts are told."""
    return within_limits(p, evidence, "no_unsupported_promotion", "records of a promotion")
