"""Which learned behaviours survived a rebase: each past update's own held-out probes, again.

Four models are asked: the two champions and the two bare bases.

    before      old champion - old base            margin, what there was to survive
    now         rebased champion - new base        margin, what was learned on the new base
    difference  rebased champion - old champion    share right

Differences are paired by item, with a 95 % interval each; nothing is corrected for how many
updates are asked about. Margins are nats per token of a model's own tokenizer, so they are
compared on one base only; across the bases it is whether the right answer is preferred.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from tidegate.evals.harness import Subject, SuiteRun
from tidegate.evals.suite import Suite, load_suite
from tidegate.flows.home import Home
from tidegate.flows.loaded import load_measured
from tidegate.flows.made_suites import past_of
from tidegate.flows.progress import counted
from tidegate.flows.rebasing.plan import Bases, RebasePlan
from tidegate.flows.registry import Registry
from tidegate.gates.digest import digest_json
from tidegate.gates.statistics.estimate import Estimate, NotComparable
from tidegate.gates.statistics.paired import paired_wider
from tidegate.gates.statistics.proportions import tango
from tidegate.gates.types import Measurement, Noun, Report
from tidegate.training.base import Base

LEVEL = 0.025  # on each side
Asked = Literal["old base", "old champion", "new base", "rebased champion"]
Outcome = Literal["survived", "weakened", "lost", "undecided", "not learned", "not asked"]


class Paired(Noun):
    """The mean of paired differences and its 95 % interval; None: without bound."""

    mean: float
    low: float | None
    high: float | None
    n: int
    method: str


class Survived(Noun):
    """What is left of one past update on the new base.

    survived: the rebased champion prefers its answers more than its bare base does, and is not
    shown to be right less often than the old champion. weakened: more than its base, less
    often than the old champion. lost: shown to be no better than its base. not learned: its update was not accepted there.
    """

    of: str  # version
    outcome: Outcome
    reason: str = ""
    before: Paired | None = None
    now: Paired | None = None
    difference: Paired | None = None
    right: dict[str, float] = Field(default_factory=dict)  # share right, by who was asked


def survival(
    home: Home,
    registry: Registry,
    plan: RebasePlan,
    bases: Bases,
    now: str,
    accepted: Collection[str],
    progress: Report,
) -> tuple[Survived, ...]:
    """Ask both champions and both bases about every past update.

    now: the new line's champion. accepted: versions whose updates the new line learned; what
    another one taught may look known all the same, by the form of the answers. Raises RegistryError if a version is not what was registered.
    """
    past = past_of(home, [step.again.update_id for step in plan.steps])
    suites = {
        step.again.version: load_suite(one.suite)
        for step, one in zip(plan.steps, past, strict=True)
        if one.suite.exists()
    }
    old, new = (
        registry.load(*named) for named in ((plan.model, plan.champion), (plan.to, now))
    )
    who: dict[Asked, tuple[Base, Path | None, str]] = {
        "old base": (bases.old, None, bases.old.digest),
        "old champion": (bases.old, old.adapter, old.candidate.digest),
        "new base": (bases.new, None, bases.new.digest),
        "rebased champion": (bases.new, new.adapter, new.candidate.digest),
    }
    seen = counted(progress, "ask what survived")
    answers = {
        name: _answers(home, base, adapter, digest, suites, seen)
        for name, (base, adapter, digest) in who.items()
    }
    found: list[Survived] = []
    for version in (step.again.version for step in plan.steps):
        if version not in suites:
            reason = "its questions are not stored"
            found.append(Survived(of=version, outcome="not asked", reason=reason))
            continue
        one = told(version, {name: asked[version] for name, asked in answers.items()})
        if version not in accepted:
            reason = "the new line did not accept its update"
            one = one.model_copy(update={"outcome": "not learned", "reason": reason})
        found.append(one)
    return tuple(found)


def told(of: str, runs: Mapping[Asked, SuiteRun]) -> Survived:
    """Pure: what the four models' answers to one update's probes say."""
    failed = [f"{name}: {run.broken[0].reason}" for name, run in runs.items() if run.broken]
    if failed:
        return Survived(of=of, outcome="undecided", reason="; ".join(failed))
    right = {str(name): _measured(run, "acc").value for name, run in runs.items()}
    try:
        margins = {name: _measured(run, "margin") for name, run in runs.items()}
        before = _paired(paired_wider(_changes(margins["old champion"], margins["old base"])))
        gain = _changes(margins["rebased champion"], margins["new base"])
        now = _paired(paired_wider(gain))
        both = (_measured(runs[n], "acc") for n in ("rebased champion", "old champion"))
        difference = _paired(tango(_changes(*both)))
    except NotComparable as no:
        return Survived(of=of, outcome="undecided", reason=str(no), right=right)
    return Survived(
        of=of,
        outcome=outcome(now, difference),
        before=before,
        now=now,
        difference=difference,
        right=right,
    )


def outcome(now: Paired, difference: Paired) -> Outcome:
    """By the ends of the intervals, never by the middle."""
    if now.low is not None and now.low > 0:
        less = difference.high is not None and difference.high < 0
        return "weakened" if less else "survived"
    return "lost" if now.high is not None and now.high <= 0 else "undecided"


def _answers(
    home: Home,
    base: Base,
    adapter: Path | None,
    digest: str,
    suites: Mapping[str, Suite],
    progress: Report,
) -> dict[str, SuiteRun]:
    """One model at a time in memory."""
    # Both, since an adapter that training did not move is the same on every base.
    both = digest_json({"base": base.digest, "model": digest})
    subject = Subject(*load_measured(base, adapter), both, home.cache)
    return {
        version: subject.measure([suite], role="candidate", progress=progress).runs[0]
        for version, suite in suites.items()
    }


def _measured(run: SuiteRun, metric: str) -> Measurement:
    return next(m for m in run.measurements if m.name == f"{run.suite}.{metric}@candidate")


def _changes(ours: Measurement, theirs: Measurement) -> Sequence[float]:
    before = dict(zip(theirs.items, theirs.values, strict=True))
    if set(before) != set(ours.items):
        raise NotComparable(f"{ours.name}: the models were asked different items")
    return [v - before[item] for item, v in zip(ours.items, ours.values, strict=True)]


def _paired(found: Estimate) -> Paired:
    ends = (found.lower(LEVEL), found.upper(LEVEL))
    low, high = (end if abs(end) != float("inf") else None for end in ends)
    return Paired(mean=found.mean, low=low, high=high, n=found.n, method=found.method)
