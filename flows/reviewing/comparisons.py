"""What changed, for people: each suite's paired change against champion and anchor.

The numbers are computed as the gates compute them (same pairs, same bounds), from the same
evidence; nothing here decides. Positive always means better.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tidegate.evals.suite import Suite
from tidegate.gates.checks.learned import Gain
from tidegate.gates.checks.not_worse import Margin
from tidegate.gates.comparison import improvements
from tidegate.gates.gate import Comparing
from tidegate.gates.policy import Policy
from tidegate.gates.statistics import NotComparable, paired_mean
from tidegate.gates.types import BrokenEvidence, Evidence, MissingEvidence

ROLES = ("champion", "anchor")
WORST = 5  # items named in a report
DRIFT_TAG = "gov.drift"


@dataclass(frozen=True)
class Part:
    """The mean change on one slice of a suite."""

    name: str
    n: int
    mean: float


@dataclass(frozen=True)
class Item:
    """One item of a suite, and its change. Text is never kept here."""

    id: str
    change: float


@dataclass(frozen=True)
class Comparison:
    """One suite and metric against one baseline, in the metric's own unit.

    `low` and `high` are the two bounds that the gates compare. `limit` is what the policy
    asks for: the change must stay above it; None where the policy does not ask.
    """

    suite: str
    metric: str
    than: str
    mean: float
    low: float
    high: float
    n: int
    limit: float | None
    gain: bool  # the policy asks for a gain here, not for the absence of a loss
    slices: tuple[Part, ...]
    worst: tuple[Item, ...]

    @property
    def name(self) -> str:
        return f"{self.suite}.{self.metric}"


@dataclass(frozen=True)
class Uncompared:
    """A comparison that could not be made, and why."""

    name: str
    than: str
    reason: str


@dataclass(frozen=True)
class DriftPoint:
    """How far one version is from the anchor on one suite and metric."""

    version: str
    name: str
    mean: float
    low: float
    high: float


def compare(
    policy: Policy, evidence: Evidence, suites: Sequence[Suite] = ()
) -> tuple[tuple[Comparison, ...], tuple[Uncompared, ...]]:
    """Every suite that the policy asks about, against both baselines."""
    slices = {suite.name: suite.slices for suite in suites}
    limits = _limits(policy)
    made: list[Comparison] = []
    refused: list[Uncompared] = []
    for suite, metric in dict.fromkeys((suite, metric) for suite, metric, _ in limits):
        for than in ROLES:
            limit, gain = limits.get((suite, metric, than), (None, False))
            try:
                changes = improvements(evidence, suite, metric, than)
                found = _comparison(policy, changes)
            except (MissingEvidence, BrokenEvidence, NotComparable) as no:
                refused.append(Uncompared(f"{suite}.{metric}", than, str(no)))
                continue
            items = evidence[f"{suite}.{metric}@candidate"].items
            pairs = list(zip(items, changes, strict=True))
            made.append(
                Comparison(
                    suite=suite,
                    metric=metric,
                    than=than,
                    mean=found[0],
                    low=found[1],
                    high=found[2],
                    n=len(changes),
                    limit=limit,
                    gain=gain,
                    slices=_parts(pairs, slices.get(suite, {})),
                    worst=_worst(pairs),
                )
            )
    return tuple(made), tuple(refused)


def drift_tags(comparisons: Sequence[Comparison]) -> dict[str, str]:
    """The distance from the anchor as a tag of a version, for the drift of later updates."""
    found = {
        c.name: [round(v, 6) for v in (c.mean, c.low, c.high)]
        for c in comparisons
        if c.than == "anchor"
    }
    return {DRIFT_TAG: json.dumps(found)} if found else {}


def drift_of(version: str, tags: Mapping[str, str]) -> tuple[DriftPoint, ...]:
    """What `drift_tags` wrote on a version; nothing if somebody changed it to something else."""
    try:
        found = json.loads(tags.get(DRIFT_TAG, "{}"))
        return tuple(
            DriftPoint(version, str(name), float(mean), float(low), float(high))
            for name, (mean, low, high) in found.items()
        )
    except (ValueError, TypeError, AttributeError):
        return ()


def _limits(policy: Policy) -> dict[tuple[str, str, str], tuple[float, bool]]:
    """(suite, metric, baseline) to what the policy asks of the change there."""
    limits: dict[tuple[str, str, str], tuple[float, bool]] = {}
    for use in policy.model:
        match use.params:
            case Margin() as p:
                for than, margin in p.than.given().items():
                    limits[p.suite, p.metric, than] = (-margin, False)
            case Gain() as p:
                limits[p.suite, p.metric, "champion"] = (p.at_least, True)
    return limits


def _comparison(policy: Policy, changes: Sequence[float]) -> tuple[float, float, float]:
    params = [use.params for use in policy.model if isinstance(use.params, Comparing)]
    count = max(1, sum(p.comparisons() for p in params))
    bounds = paired_mean(
        changes,
        below=policy.statistics.false_pass_rate,
        above=policy.statistics.false_block_rate / count,
    )
    return bounds.mean, bounds.lower, bounds.upper


def _parts(pairs: Sequence[tuple[str, float]], slices: Mapping[str, str]) -> tuple[Part, ...]:
    found: dict[str, list[float]] = {}
    for item, change in pairs:
        if item in slices:
            found.setdefault(slices[item], []).append(change)
    parts = [
        Part(name, len(values), sum(values) / len(values)) for name, values in found.items()
    ]
    return tuple(sorted(parts, key=lambda part: part.mean))


def _worst(pairs: Sequence[tuple[str, float]]) -> tuple[Item, ...]:
    """The items that lost most; items that lost nothing are nobody's worst."""
    lost = sorted((change, item) for item, change in pairs if change < 0)
    return tuple(Item(item, change) for change, item in lost[:WORST])
