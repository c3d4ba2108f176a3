"""honest_feedback: no brigade and no vote flipper decides what users are said to like.

Sees: votes of newcomers, of a burst, or of a few busy authors on one topic that differ from
those of the established authors at that time (brigade_score), and authors who vote against
everybody else on the same exchanges (contrarian_score). Both scores are -log10 of a p-value
adjusted over all topics, or authors, of the batch. Hits are the votes of the suspicious group.
Both are also taken together with the votes that earlier promoted batches of the home taught
(…_over_drops): what is too few in each drop adds up, and only this batch's votes are hits.
Cannot see: less than about a tenth of a topic's votes, unless they come in a burst; stolen or
patient accounts; the first drops of a slow brigade; a batch in which hardly anybody votes more than once, unless
established authors are known. A topic that turns bad for everybody is no hit.
"""

import math
from typing import Annotated

from pydantic import Field

from tidegate.gates.gate import RowRule, gate
from tidegate.gates.record_limits import QuarantineOnly, within_limits
from tidegate.gates.tighter import HIGHER
from tidegate.gates.types import BatchEvidence, Verdict


class HonestFeedback(QuarantineOnly):
    false_discovery_rate: Annotated[float, HIGHER] = Field(
        default=0.01, gt=0, le=0.2, description="of the groups and authors named, at most"
    )


def rows(p: HonestFeedback) -> tuple[RowRule, ...]:
    above = -math.log10(p.false_discovery_rate)
    return (
        RowRule("brigade_score", above, "one of a group of votes unlike all others'"),
        RowRule("contrarian_score", above, "the author votes against everybody else"),
        RowRule(
            "brigade_score_over_drops",
            above,
            "one of a group of votes over several drops, unlike all others'",
        ),
        RowRule(
            "contrarian_score_over_drops",
            above,
            "over several drops the author votes against everybody else",
        ),
    )


@gate(rows=rows)
def honest_feedback(p: HonestFeedback, evidence: BatchEvidence) -> Verdict:
    """No kept vote belongs to a brigade, or to an author who flips votes."""
    return within_limits(p, evidence, "honest_feedback", "votes of a suspicious group")
