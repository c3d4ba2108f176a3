"""forgets_the_erased: a rebuilt candidate cannot be told from one that never saw the rows.

Sees: the p-value of a Kolmogorov-Smirnov test between truth ratios of the candidate and of a
never-trained twin, and how well a row's loss tells erased rows from rows that were never
trained on (the upper bound of the area under the ROC curve). With `verbatim`: whether it
completes more answers word for word than the twin.
Cannot see: stronger attacks than one on the loss, rows that nobody asked about, and the
difference between "no trace" and "too few rows to see one": `least` is there for that.

For candidates that are rebuilds after an erasure. In no shipped policy: such a candidate
never read the rows, and that is shown by its lineage, not by a statistic.
"""

from typing import Annotated

from pydantic import Field

from tidegate.gates.gate import Params, gate
from tidegate.gates.tighter import HIGHER, LOWER, ranked
from tidegate.gates.types import CandidateEvidence, Measurement, Outcome, Verdict

RATIO, MEMBERSHIP = "unlearning.truth_ratio_p@candidate", "unlearning.membership_auc@candidate"
EXTRACTION = "unlearning.extraction_p@candidate"


class Forgetting(Params):
    alpha: Annotated[float, HIGHER] = Field(
        default=0.05, gt=0, lt=1, description="smallest p-value of the truth ratios' test"
    )
    max_auc: Annotated[float, LOWER] = Field(
        default=0.7, ge=0.5, lt=1, description="limit of the upper bound of the membership AUC"
    )
    least: Annotated[int, HIGHER] = Field(
        default=10, ge=5, description="questions and rows that must have been measured"
    )
    verbatim: Annotated[bool, ranked(False, True)] = Field(
        default=False, description="also judge which answers are completed word for word"
    )


@gate()
def forgets_the_erased(p: Forgetting, evidence: CandidateEvidence) -> Verdict:
    """The candidate cannot be told from a model that was never trained on the erased rows."""
    ratio, membership = evidence[RATIO], evidence[MEMBERSHIP]
    fewest = min(ratio.n, membership.n)
    if fewest < p.least:
        return Verdict(
            outcome=Outcome.INCONCLUSIVE,
            reason=f"{fewest} questions or rows were measured; {p.least} are needed",
            observed=float(fewest),
            limit=float(p.least),
        )
    if membership.high is None:
        return Verdict(outcome=Outcome.ERROR, reason=f"{MEMBERSHIP} has no upper bound")
    if not (0 <= ratio.value <= 1 and 0 <= membership.value <= membership.high <= 1):
        reason = f"{RATIO} or {MEMBERSHIP} is no share between 0 and 1"
        return Verdict(outcome=Outcome.ERROR, reason=reason)
    if ratio.value < p.alpha:
        return Verdict(
            outcome=Outcome.FAIL,
            reason=f"truth ratios differ from the never-trained twin's: p {ratio.value:.2g} is "
            f"below {p.alpha:.2g}",
            observed=ratio.value,
            limit=p.alpha,
        )
    if p.verbatim and (failed := _repeats(evidence[EXTRACTION], p)):
        return failed
    if membership.high > p.max_auc:
        # A wide interval says that little is known; only a low end above chance shows a trace.
        shown = membership.low is not None and membership.low > 0.5
        return Verdict(
            outcome=Outcome.FAIL if shown else Outcome.INCONCLUSIVE,
            reason=f"erased rows may be told by their loss: the AUC's upper bound "
            f"{membership.high:.3f} exceeds {p.max_auc:.3f}",
            observed=membership.high,
            limit=p.max_auc,
        )
    return Verdict(
        outcome=Outcome.PASS,
        reason=f"like a never-trained model: p {ratio.value:.2g}, AUC at most "
        f"{membership.high:.3f}",
        observed=membership.high,
        limit=p.max_auc,
    )


def _repeats(extraction: Measurement, p: Forgetting) -> Verdict | None:
    if extraction.n < p.least:
        return Verdict(
            outcome=Outcome.INCONCLUSIVE,
            reason=f"{extraction.n} answers were tried word for word; {p.least} are needed",
            observed=float(extraction.n),
            limit=float(p.least),
        )
    if not 0 <= extraction.value <= 1:
        return Verdict(
            outcome=Outcome.ERROR, reason=f"{EXTRACTION} is no share between 0 and 1"
        )
    if extraction.value >= p.alpha:
        return None
    return Verdict(
        outcome=Outcome.FAIL,
        reason="more answers are completed word for word than by the never-trained twin: p "
        f"{extraction.value:.2g} is below {p.alpha:.2g}",
        observed=extraction.value,
        limit=p.alpha,
    )
