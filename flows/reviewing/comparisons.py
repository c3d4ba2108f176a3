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
from tidegate.gates.comparison import compare as compared
from tidegate.gates.comparison import paired
from tidegate.gates.decide import how_sure
from tidegate.gates.policy.nouns import Policy
from tidegate.gates.statistics.estimate import NotComparable
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
    """One item of a suite: its change, and what each model scored. Text is never kept here."""

    id: str
    change: float
    scores: Mapping[str, float]  # by role; a role that did not answer has none


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
    low: float | None
    high: float | None
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
                changes = paired(evidence, suite, metric, than)
                found = compared(changes, limit or 0.0, how_sure(policy))
            except (MissingEvidence, BrokenEvidence, NotComparable) as no:
                refused.append(Uncompared(f"{suite}.{metric}", than, str(no)))
                continue
            pairs = list(zip(changes.items, changes.values, strict=True))
            made.append(
                Comparison(
                    suite=suite,
                    metric=metric,
                    than=than,
                    mean=found.mean,
                    low=found.low,
                    high=found.high,
                    n=found.n,
                    limit=limit,
                    gain=gain,
                    slices=_parts(pairs, slices.get(suite, {})),
                    worst=_worst(pairs, _scores(evidence, f"{suite}.{metric}")),
                )
            )
    return tuple(made), tuple(refused)


def drift_tags(comparisons: Sequence[Comparison]) -> dict[str, str]:
    """The distance from the anchor as a tag of a version, for the drift of later updates."""
    found = {
        # A bound that could not be given is drawn as none: the mean itself.
        c.name: [round(c.mean if v is None else v, 6) for v in (c.mean, c.low, c.high)]
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
                    for suite in p.suites():  # dressed as well, where the gate asks so
                        limits[suite, p.metric, than] = (-margin, False)
            case Gain() as p:
                limits[p.suite, p.metric, "champion"] = (p.at_least, True)
    return limits


def _parts(pairs: Sequence[tuple[str, float]], slices: Mapping[str, str]) -> tuple[Part, ...]:
    found: dict[str, list[float]] = {}
    for item, change in pairs:
        if item in slices:
            found.setdefault(slices[item], []).append(change)
    parts = [
        Part(name, len(values), sum(values) / len(values)) for name, values in found.items()
    ]
    return tuple(sorted(parts, key=lambda part: part.mean))


def _scores(evidence: Evidence, name: str) -> dict[str, dict[str, float]]:
    """What each model scored on each item of a suite, by role."""
    found = {}
    for role in ("candidate", *ROLES):
        measured = next((m for m in evidence.measurements if m.name == f"{name}@{role}"), None)
        if measured is not None:
            found[role] = dict(zip(measured.items, measured.values, strict=True))
    return found


def _worst(
    pairs: Sequence[tuple[str, float]], scores: Mapping[str, Mapping[str, float]]
) -> tuple[Item, ...]:
    """The items that lost most; items that lost nothing are nobody's worst."""
    lost = sorted((change, item) for item, change in pairs if change < 0)[:WORST]
    return tuple(
        Item(item, change, {role: by[item] for role, by in scores.items() if item in by})
        for change, item in lost
    )
