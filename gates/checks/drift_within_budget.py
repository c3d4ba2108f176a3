"""drift_within_budget: all updates together have used up no more than the allowed loss.

Each suite has an allowance: the mean loss an item may have against the anchor, the first
blessed release, over all updates that there will ever be. What is used is the loss against
the anchor as a share of the allowance. No suite may use more than `worst`, and all of them
on average no more than `total`: losses that each stay inside their own margin add up here.

    used = (1/S) sum_s max(0, -mean_i d_si / allowance_s)        d = candidate - anchor

The bad end of `used` is Welch's interval over the suites (unequal variances, Satterthwaite's
degrees of freedom). Gains are not set against losses for passing; for blocking they are, so
that chance losses in many suites block no sooner than the stated rate.
Where the policy escalates, unfinished suites pass by a sequence of bets (loss_budget.py) on half
of the error rate; that the sum is too large is said of whole suites alone.
Cannot see: drift in what no suite asks about, and whether a loss was worth it. A gain on the
anchor hides a later loss of the same size.
"""

import math
from collections.abc import Collection, Sequence
from typing import Annotated, Self

from pydantic import Field, model_validator

from tidegate.gates.comparison import Changes, compare, not_yet, paired, verdict
from tidegate.gates.gate import Tested, gate
from tidegate.gates.statistics.estimate import NotComparable
from tidegate.gates.statistics.loss_budget import LossBudget
from tidegate.gates.statistics.means import mean_of_means
from tidegate.gates.tighter import LOWER
from tidegate.gates.types import CandidateEvidence, Compared, Outcome, Verdict

METRICS = {"general_text": "nll"}  # of the shipped suites; every other has a margin


class Drift(Tested):
    allowance: dict[str, Annotated[float, LOWER, Field(gt=0)]] = Field(
        min_length=1,
        description="by suite, or suite.metric: mean loss an item, against the anchor",
    )
    total: Annotated[float, LOWER] = Field(
        default=0.5, gt=0, le=1, description="share used, on average over the suites"
    )
    worst: Annotated[float, LOWER] = Field(
        default=1.0, gt=0, le=1, description="share used of any suite's allowance"
    )

    @model_validator(mode="after")
    def _each_suite_once(self) -> Self:
        if len(self.suites()) != len(self.allowance):
            raise ValueError("a suite has two allowances: one is enough")
        return self

    def suites(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(asked_of(name)[0] for name in self.allowance))

    def comparisons(self) -> int:
        return 1 + len(self.allowance)


@gate()
def drift_within_budget(p: Drift, evidence: CandidateEvidence) -> Verdict:
    """Against the anchor, all updates together have used no more than the allowed loss."""
    try:
        used = [
            _share(paired(evidence, *asked_of(name), "anchor"), name, allowed)
            for name, allowed in p.allowance.items()
        ]
        compared = [_all(p, used), *(_one(p, one) for one in used)]
    except NotComparable as refused:
        return Verdict(outcome=Outcome.ERROR, reason=str(refused))
    found = verdict(compared, p, "the share of the allowance that is gained is")
    return found.model_copy(update={"reason": f"{_left(used)}; {found.reason}"})


def asked_of(name: str) -> tuple[str, str]:
    """The suite and metric that an allowance is of."""
    suite, _, metric = name.partition(".")
    return suite, metric or METRICS.get(suite, "margin")


def _share(changes: Changes, name: str, allowed: float) -> Changes:
    """The changes in units of the allowance: -1 has used all of it."""
    return Changes(
        than=f"anchor, {name}",
        items=changes.items,
        values=tuple(value / allowed for value in changes.values),
        planned=changes.planned,
        binary=False,  # a right answer lost is no longer one, but a share
    )


def _one(p: Drift, used: Changes) -> Compared:
    if not used.whole and not p.how.early_share:
        return not_yet(used, used.than, -p.worst)
    return compare(used, -p.worst, p.how)


def _all(p: Drift, used: Sequence[Changes]) -> Compared:
    early, whole = p.how.early_share, all(one.whole for one in used)
    if not whole and not early:
        part = next(one for one in used if not one.whole)
        return not_yet(part, "anchor, all suites once they are whole", -p.total)
    lows: list[float] = []
    p_pass: list[float] = []
    methods: list[str] = []
    high, p_block = None, 1.0
    if early:
        bets = LossBudget(
            [one.values for one in used], limit=p.total, bound=p.how.bound_margins * p.total
        )
        lows.append(-bets.upper(p.how.false_pass_rate * early))
        p_pass.append(bets.p_at_least(p.total) / early)
        methods.append("bets on all suites")
    if whole:
        kept, net = mean_of_means([one.values for one in used])
        lows.append(kept.lower(p.how.false_pass_rate * (1 - early)))
        high = net.upper(p.how.false_block_rate * (1 - early))
        p_pass.append(kept.p_at_most(-p.total) / (1 - early))
        p_block = min(1.0, net.p_at_least(-p.total) / (1 - early))
        methods.append(kept.method)
    low = max(lows)
    return Compared(
        than="anchor, all suites together",
        mean=-_mean(_shares_used(used).values()),
        low=low if math.isfinite(low) else None,
        high=high,
        limit=-p.total,
        n=sum(len(one.values) for one in used),
        planned=sum(one.planned for one in used),
        p_pass=min(1.0, *p_pass),
        p_block=p_block,
        method=" or ".join(methods),
    )


def _left(used: Sequence[Changes]) -> str:
    """How much of the allowance is gone, and where most of it went."""
    shares = _shares_used(used)
    most = max(shares, key=lambda name: shares[name])
    mean = _mean(shares.values())
    return (
        f"{mean:.0%} of the allowed loss is used, most of it by {most} ({shares[most]:.0%}); "
        f"{max(0.0, 1 - mean):.0%} is left"
    )


def _shares_used(used: Sequence[Changes]) -> dict[str, float]:
    """By suite, as it was measured; a gain has used nothing."""
    return {one.than.partition(", ")[2]: max(0.0, -_mean(one.values)) for one in used}


def _mean(values: Collection[float]) -> float:
    return math.fsum(values) / len(values)
