"""keeps_time_apart: what changed is known anew, what was stays known with its date.

Three kinds of probes about dated facts, all from a file of the operator:

    invariant  kept_I = right now among those that the champion had right
    as_of      kept_O = the same, for the old value asked with its date
    now        right_N = share of the new values that are right

    TD = min(kept_I / kept, kept_O / kept, right_N / known) must be 1 or more

after CKL (Jang et al. 2022), which tells time-invariant, updated and new knowledge apart; the
minimum is of this project and not published. Only items that the champion had right count as
kept, so that lucky gains do not pay for losses.
Cannot see: facts that nobody wrote a probe for, and dates that a model only repeats because
the question names them.
"""

from typing import Annotated

from pydantic import Field

from tidegate.gates.comparison import Changes, compare, matched, not_yet, verdict
from tidegate.gates.gate import Tested, gate
from tidegate.gates.made import TIME
from tidegate.gates.statistics.estimate import MIN_PAIRS, NotComparable
from tidegate.gates.tighter import HIGHER
from tidegate.gates.types import CandidateEvidence, Compared, MissingEvidence, Outcome, Verdict

KEPT = ("invariant", "as_of")


class Apart(Tested):
    kept: Annotated[float, HIGHER] = Field(
        default=0.75,
        gt=0,
        lt=1,
        description="share of invariant and dated facts still right, of those that were",
    )
    known: Annotated[float, HIGHER] = Field(
        default=0.5, gt=0, lt=1, description="share of the new values that are right"
    )

    def suites(self) -> tuple[str, ...]:
        return (TIME,)

    def comparisons(self) -> int:
        return 1 + len(KEPT)


@gate()
def keeps_time_apart(p: Apart, evidence: CandidateEvidence) -> Verdict:
    """New values are right, and old ones with their date, and what did not change."""
    try:
        right, before = matched(evidence, f"{TIME}.acc")
        kinds = right.slices.get("slice")
        if kinds is None:
            raise MissingEvidence(f"the items of {TIME} do not say their kind")
        whole = len(right.items) >= (right.planned or 0)
        compared = []
        for kind in (*KEPT, "now"):
            counted = [
                (item, value)
                for item, value, was, said in zip(
                    right.items, right.values, before, kinds, strict=True
                )
                if said == kind and (kind == "now" or was == 1)
            ]
            compared.append(_one(p, kind, counted, whole, right.planned or 0))
    except NotComparable as refused:
        return Verdict(outcome=Outcome.ERROR, reason=str(refused))
    found = verdict(compared, p, "the share right is")
    away = evidence["context.share@candidate"]
    said = f"{away.value:.0%} of {away.n} kept records are looked up and not learned"
    return found.model_copy(update={"reason": f"{said}; {found.reason}"})


def _one(
    p: Apart, kind: str, counted: list[tuple[str, float]], whole: bool, planned: int
) -> Compared:
    limit = p.known if kind == "now" else p.kept
    if whole and len(counted) < MIN_PAIRS:
        which = "" if kind == "now" else " that the champion has right"
        raise MissingEvidence(
            f"{len(counted)} probes of the kind {kind}{which}; {MIN_PAIRS} are needed"
        )
    shares = Changes(
        than=f"on {kind} facts",
        items=tuple(item for item, _ in counted),
        values=tuple(value for _, value in counted) or (0.0,),
        planned=len(counted) if whole else planned,
        binary=True,
        absolute=True,
    )
    return compare(shares, limit, p.how) if whole else not_yet(shares, shares.than, limit)
