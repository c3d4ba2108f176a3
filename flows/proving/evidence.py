"""Planted evidence: real measurements of the base, bent in one way at a time.

The base is candidate, champion and anchor at once, so every gate passes on what was really
measured. A case is blocked if a gate that passes then does not pass on the bent evidence.
Gates that ask for a gain are left out: they would block the unbent evidence too.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch

from tidegate.evals.suite import Suite
from tidegate.flows.proving.bench import Bench, Found, all_blocked, blockers, ruled, words
from tidegate.flows.proving.models import champion_itself
from tidegate.gates.digest import digest_json
from tidegate.gates.types import Broken, CandidateEvidence, Measurement
from tidegate.training.base import load_model

ANSWERED = 8  # of a suite that was cut: too few to settle anything
NAN = float("nan")
NOTHING = "the policy asks about no suite, so there is nothing to bend"

Bend = Callable[[Measurement], Measurement | None]


def nan_metrics(bench: Bench) -> Found:
    """A model that gives no numbers, and numbers that were lost after measuring.

    The first goes through the real suite and scorer, which must call it broken. The second
    slips past the nouns, which refuse NaN where a number is born: gates must refuse it too.
    """
    true = champion_itself(bench)
    if not _names(bench, true):
        return Found(True, NOTHING)
    model, tokenizer = load_model(bench.base)
    with torch.no_grad():
        for weights in model.parameters():
            weights.fill_(NAN)
    suite = _shortest(bench)
    digest = digest_json({"base": bench.base.digest, "weights": "nan"})
    subject = bench.subject((model, tokenizer), digest)
    results = subject.measure([suite], role="candidate", progress=bench.progress)
    good, broken = results.measurements, results.broken
    names = {m.name for m in good} | {b.name for b in broken}
    kept = [m for m in true.measurements if m.name not in names]
    measured = _evidence(true, [*kept, *good], broken)

    def lost(m: Measurement) -> Measurement:
        """As nothing but a copy without checks could make it."""
        return m.model_copy(
            update={"value": NAN, "low": NAN, "high": NAN, "values": (NAN,) * len(m.values)}
        )

    shapes = [
        (f"values of {name}", _found(bench, _of_candidate(true, lost, name)))
        for name in _names(bench, true)
    ]
    whole = ("weights", _found(bench, measured))
    return all_blocked([whole, ("lost values", _summed(shapes))])


def truncated_eval(bench: Bench) -> Found:
    """Each suite in turn answered in part: by the candidate, and by all three models."""
    true = champion_itself(bench)
    shapes = []
    for name in _names(bench, true):
        shapes.append((f"{name} cut", _found(bench, _of_candidate(true, _cut, name))))
        every = _bent(true, partial(_cut_if, name))
        shapes.append((f"{name} cut for all three", _found(bench, every)))
    if not shapes:
        return Found(True, NOTHING)
    return _summed(shapes)


def swapped_labels(bench: Bench) -> Found:
    """Every suite with right and wrong answers, scored for the candidate the wrong way round.

    All at once: a base that is wrong more often than right gains by a swap of one suite,
    and only `gains_plausibly` can see that. Such suites are named.
    """
    true = champion_itself(bench)
    names = [
        n for n in _names(bench, true) if any(_has_labels(m, n) for m in true.measurements)
    ]
    if not names:
        return Found(True, "the policy asks no suite that has right and wrong answers")
    found = _found(bench, _of_candidate(true, _swapped))
    unseen = [n for n in names if _found(bench, _of_candidate(true, _swapped, n)).passed]
    note = f"; alone, a swap of {', '.join(unseen)} is not seen" if unseen else ""
    return Found(found.passed, found.seen + note)


def wrong_task_version(bench: Bench) -> Found:
    """The candidate answered another version of the suites than its baselines."""

    def other(m: Measurement) -> Measurement:
        if m.settings is None:
            return m
        return _with(m, settings={**m.settings, "version": "another"})

    return _found(bench, _of_candidate(champion_itself(bench), other))


def missing_baseline(bench: Bench) -> Found:
    """No measurement of the champion; no measurement of the anchor."""
    true = champion_itself(bench)
    return all_blocked(
        [
            (f"no {role}", _found(bench, _bent(true, partial(_but, role))))
            for role in ("champion", "anchor")
        ]
    )


def _found(bench: Bench, evidence: CandidateEvidence) -> Found:
    usual = blockers(ruled(bench.without_gains, champion_itself(bench)))
    by = [t for t in blockers(ruled(bench.without_gains, evidence)) if t not in usual]
    if by:
        return Found(False, f"blocked by {words(by)}")
    if usual:
        return Found(True, f"only {words(usual)} blocks, and the champion itself as well")
    return Found(True, "every gate passed")


def _summed(shapes: list[tuple[str, Found]]) -> Found:
    """all_blocked in few words, for shapes that are many and alike."""
    if any(found.passed for _, found in shapes):
        return all_blocked(shapes)
    return Found(False, f"{shapes[0][1].seen}; so in each of {len(shapes)} shapes")


def _bent(true: CandidateEvidence, bend: Bend) -> CandidateEvidence:
    bent = (bend(m) for m in true.measurements)
    return _evidence(true, [m for m in bent if m is not None], true.broken)


def _of_candidate(
    true: CandidateEvidence, bend: Bend, suite: str | None = None
) -> CandidateEvidence:
    """Bend what was measured of the candidate, on one suite or on all."""

    def only(m: Measurement) -> Measurement | None:
        meant = m.name.endswith("@candidate") and (suite is None or _suite(m) == suite)
        return bend(m) if meant else m

    return _bent(true, only)


def _evidence(
    true: CandidateEvidence, measurements: Iterable[Measurement], broken: Iterable[Broken]
) -> CandidateEvidence:
    return CandidateEvidence(
        subject=true.subject, measurements=tuple(measurements), broken=tuple(broken)
    )


def _with(m: Measurement, **changes: Any) -> Measurement:
    """A changed copy that is checked like any other."""
    return Measurement(**{**dict(m), **changes})


def _cut(m: Measurement) -> Measurement:
    n = max(1, min(ANSWERED, len(m.items) // 2))
    values = m.values[:n]
    return _with(
        m,
        value=sum(values) / n,
        low=None,
        high=None,
        n=n,
        items=m.items[:n],
        values=values,
        slices={by: labels[:n] for by, labels in m.slices.items()},
        planned=len(m.items) if m.planned is None else m.planned,
    )


def _cut_if(suite: str, m: Measurement) -> Measurement:
    return _cut(m) if _suite(m) == suite else m


def _swapped(m: Measurement) -> Measurement:
    metric = _metric(m)
    if metric not in ("margin", "acc"):
        return m
    values = tuple(1 - v if metric == "acc" else -v for v in m.values)
    return _with(m, value=sum(values) / len(values), low=None, high=None, values=values)


def _but(role: str, m: Measurement) -> Measurement | None:
    return None if m.name.endswith(f"@{role}") else m


def _names(bench: Bench, true: CandidateEvidence) -> list[str]:
    """The suites that the gates left in judge and that were measured."""
    measured = {_suite(m) for m in true.measurements}
    judged = {name for use in bench.without_gains.model for name in use.params.judged()}
    return [name for name in bench.without_gains.suites() if name in measured & judged]


def _has_labels(m: Measurement, suite: str) -> bool:
    return _suite(m) == suite and _metric(m) in ("margin", "acc")


def _suite(m: Measurement) -> str:
    return m.name.partition(".")[0]


def _metric(m: Measurement) -> str:
    return m.name.partition(".")[2].partition("@")[0]


def _shortest(bench: Bench) -> Suite:
    named = bench.without_gains.suites()
    asked = [suite for suite in bench.suites if suite.name in named]
    return min(asked, key=lambda suite: sum(map(len, suite.texts())))
