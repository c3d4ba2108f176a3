"""no_forgetting: what earlier updates taught is still there.

The update suites of all updates that the champion went through are asked again:

    BWT        = mean over updates i of (R_Ti - R_ii)            Lopez-Paz & Ranzato 2017
    forgetting = mean over updates i of (max_l R_li - R_Ti)      Chaudhry et al. 2018

R is the mean margin of an update's items: R_Ti of the candidate, R_ii as it was right after
update i. The best is taken of the two that are known, R_ii and the champion's, so this is a
lower bound of Chaudhry's. Against the champion the change of this one update is limited,
against what was learned the sum of all changes since; `worst` holds for each update alone.
Cannot see: earlier updates beyond the items kept of each, updates whose suite was erased
(`max_unasked` says how many are tolerated), and other abilities (not_worse on their suites).
What was learned was measured on the day: another scorer or library since shifts it a little.
"""

from typing import Annotated

from pydantic import Field

from tidegate.gates.comparison import Changes, compare, not_yet, paired, verdict
from tidegate.gates.gate import Tested, gate
from tidegate.gates.made import PAST, UPDATE
from tidegate.gates.statistics.estimate import MIN_PAIRS, NotComparable
from tidegate.gates.tighter import LOWER
from tidegate.gates.types import (
    CandidateEvidence,
    Compared,
    Measurement,
    MissingEvidence,
    Outcome,
    Verdict,
)


class Forgetting(Tested):
    champion: Annotated[float, LOWER] = Field(
        default=0.15, gt=0, description="largest mean loss an item by this update"
    )
    learned: Annotated[float, LOWER] = Field(
        default=0.5, gt=0, description="largest mean loss an item since it was learned"
    )
    worst: Annotated[float, LOWER] = Field(
        default=1.0, gt=0, description="largest mean loss of any one update since"
    )
    max_unasked: Annotated[int, LOWER] = Field(
        default=0, ge=0, description="earlier updates that nothing can be asked about"
    )

    def suites(self) -> tuple[str, ...]:
        return (UPDATE, PAST)  # this update's own, so that later ones can ask it again

    def judged(self) -> tuple[str, ...]:
        return (PAST,)

    def comparisons(self) -> int:
        return 3


@gate()
def no_forgetting(p: Forgetting, evidence: CandidateEvidence) -> Verdict:
    """What earlier updates taught is lost neither by this update nor by all since."""
    updates = evidence[f"{PAST}.updates@candidate"]
    unasked = round(updates.value) - updates.n
    if unasked > p.max_unasked:
        raise MissingEvidence(
            f"{unasked} of {updates.value:.0f} earlier updates have no stored suite; "
            f"max_unasked allows {p.max_unasked}"
        )
    if not updates.n:
        said = "there is no earlier update that could be asked about"
        return Verdict(outcome=Outcome.PASS, reason=said, observed=0.0, limit=p.learned)
    try:
        now = paired(evidence, PAST, "margin", "champion")
        since, labels = _since(evidence)
        compared = [
            compare(now, -p.champion, p.how),
            compare(since, -p.learned, p.how),
            _worst(p, since, labels),
        ]
    except NotComparable as refused:
        return Verdict(outcome=Outcome.ERROR, reason=str(refused))
    found = verdict(compared, p, "the mean change is")
    return found.model_copy(update={"reason": f"{_means(now, since, labels)}; {found.reason}"})


def _since(evidence: CandidateEvidence) -> tuple[Changes, tuple[str, ...]]:
    ours, then = evidence[f"{PAST}.margin@candidate"], evidence[f"{PAST}.margin@learned"]
    before = dict(zip(then.items, then.values, strict=True))
    strange = set(ours.items) - set(before)
    if strange:
        raise NotComparable(f"{len(strange)} items of {PAST} were never measured when learned")
    changes = Changes(
        than="what was learned",
        items=ours.items,
        values=tuple(v - before[item] for item, v in zip(ours.items, ours.values, strict=True)),
        planned=_planned(ours),
        binary=False,
    )
    if "slice" not in ours.slices:
        raise MissingEvidence(f"the items of {PAST} do not say their update")
    return changes, ours.slices["slice"]


def _planned(measurement: Measurement) -> int:
    return measurement.n if measurement.planned is None else measurement.planned


def _worst(p: Forgetting, since: Changes, labels: tuple[str, ...]) -> Compared:
    if not since.whole:
        return not_yet(since, "each update once all items are measured", -p.worst)
    names = [n for n in dict.fromkeys(labels) if labels.count(n) >= MIN_PAIRS]
    if not names:
        raise MissingEvidence(f"no earlier update has {MIN_PAIRS} items")
    each = [
        compare(
            since.only([label == name for label in labels], f"update {name}"), -p.worst, p.how
        )
        for name in names
    ]
    worst = max(each, key=lambda c: (c.p_pass, -c.mean))
    # That any update blocks is corrected for their number (Bonferroni); all must pass anyway.
    p_block = min(1.0, len(each) * min(c.p_block for c in each))
    return worst.model_copy(update={"p_block": p_block})


def _means(now: Changes, since: Changes, labels: tuple[str, ...]) -> str:
    """BWT and forgetting, each update counting the same."""
    bwt, lost = [], []
    step = dict(zip(now.items, now.values, strict=True))
    for name in dict.fromkeys(labels):
        pairs = [
            (value, step[item])
            for item, value, label in zip(since.items, since.values, labels, strict=True)
            if label == name
        ]
        back = sum(value for value, _ in pairs) / len(pairs)
        last = sum(value for _, value in pairs) / len(pairs)
        bwt.append(back)
        lost.append(-min(back, last))
    return (
        f"over {len(bwt)} earlier updates backward transfer is {sum(bwt) / len(bwt):+.3f} and "
        f"forgetting {sum(lost) / len(lost):.3f} nats per token"
    )
