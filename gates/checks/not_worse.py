"""not_worse: what the baselines could do, the candidate can still do.

Sees: the paired per-item change on one suite, against the champion (the last step) and the
anchor (the first blessed release), so that small losses cannot add up unseen; with
`slices`, also the worst part of the suite, which a mean can hide.
Cannot see: anything that the suite does not ask about, and slices with too few items.
"""

from typing import Annotated, Self

from pydantic import Field, model_validator

from tidegate.gates.comparison import Changes, compare, not_yet, paired, verdict
from tidegate.gates.gate import Comparing, gate
from tidegate.gates.statistics.estimate import NotComparable
from tidegate.gates.tighter import LOWER, SAME
from tidegate.gates.types import (
    CandidateEvidence,
    Compared,
    MissingEvidence,
    Noun,
    Outcome,
    Verdict,
)


class Margins(Noun):
    """The largest mean loss per item that still counts as none, for each baseline."""

    champion: Annotated[float | None, LOWER] = Field(default=None, gt=0)
    anchor: Annotated[float | None, LOWER] = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _at_least_one(self) -> Self:
        if self.champion is None and self.anchor is None:
            raise ValueError("name a margin for champion, for anchor, or for both")
        return self

    def given(self) -> dict[str, float]:
        return {k: v for k, v in (("champion", self.champion), ("anchor", self.anchor)) if v}


class Slices(Noun):
    """A looser margin that every slice of the suite must keep by itself."""

    by: Annotated[str, SAME] = Field(
        default="slice", description="what the items are sliced by"
    )
    worst: Annotated[float, LOWER] = Field(gt=0, description="largest mean loss of any slice")
    # Lowering it would look at more slices and spread the block rate thinner over each.
    min_items: Annotated[int, SAME] = Field(
        default=20, ge=8, description="smaller slices are left to the mean"
    )


class Margin(Comparing):
    than: Margins
    slices: Slices | None = None

    def comparisons(self) -> int:
        return len(self.than.given()) * (2 if self.slices else 1)


@gate()
def not_worse(p: Margin, evidence: CandidateEvidence) -> Verdict:
    """The candidate is non-inferior to its baselines on a suite, within a margin."""
    try:
        compared = change_of(p, evidence, p.suite)
    except NotComparable as refused:
        return Verdict(outcome=Outcome.ERROR, reason=str(refused))
    return verdict(compared, p, "the mean change is")


def change_of(p: Margin, evidence: CandidateEvidence, suite: str) -> list[Compared]:
    """What the gate compares on one suite: its mean and its worst slice, for each baseline.

    Raises MissingEvidence, BrokenEvidence and NotComparable.
    """
    compared: list[Compared] = []
    for than, margin in p.than.given().items():
        changes = paired(evidence, suite, p.metric, than)
        compared.append(compare(changes, -margin, p.how))
        if p.slices:
            labels = evidence[f"{suite}.{p.metric}@candidate"].slices
            compared.append(_worst_slice(p, suite, p.slices, changes, labels))
    return compared


def _worst_slice(
    p: Margin,
    suite: str,
    s: Slices,
    changes: Changes,
    labels: dict[str, tuple[str, ...]],
) -> Compared:
    """The slice with the weakest evidence for passing, or the strongest for blocking.

    Every slice must pass, so passing needs no correction (intersection-union); that any
    slice blocks is corrected for the number of slices (Bonferroni).
    """
    if not changes.whole:
        return not_yet(
            changes, f"{changes.than}, each {s.by} once all items are measured", -s.worst
        )
    if s.by not in labels:
        known = ", ".join(sorted(labels)) or "nothing"
        raise MissingEvidence(f"the items of {suite} are not sliced by {s.by!r} but {known}")
    here = labels[s.by]
    names = [n for n in dict.fromkeys(here) if here.count(n) >= s.min_items]
    if not names:
        raise MissingEvidence(f"no slice of {suite} by {s.by!r} has {s.min_items} items")
    each = [
        compare(
            changes.only([label == name for label in here], f"worst {s.by} {name}"),
            -s.worst,
            p.how,
        )
        for name in names
    ]
    worst = max(each, key=lambda c: (c.p_pass, -c.mean))
    p_block = min(1.0, len(each) * min(c.p_block for c in each))
    return worst.model_copy(update={"p_block": p_block})
