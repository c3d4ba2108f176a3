"""keeps_time_apart, reaches_consequences and no_forgetting: evidence, suites, and refusals."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.aligning import SUBJECT, around, measured, policy
from tests.suites import choices, write_suite
from tidegate.evals import fact_suites
from tidegate.evals.past_suite import LEARNED, UPDATES, Past, build, learned_then
from tidegate.evals.samples import Sample, Unusable, write_samples
from tidegate.evals.suite import SuiteError
from tidegate.evals.update_suite import read_probes
from tidegate.flows.made_suites import check_sources
from tidegate.gates.decide import judge
from tidegate.gates.types import Action, CandidateEvidence, Measurement, Outcome, Ruling

APART = "gate: keeps_time_apart"
REACH = "gate: reaches_consequences, on_fail: hold"
FORGET = "gate: no_forgetting"


def ruled(folder: Path, gate: str, made: list[Measurement]) -> Ruling:
    seen = CandidateEvidence(subject=SUBJECT, measurements=tuple(made))
    return judge(policy(folder, gate), seen)[0]


def dated(invariant: int, now: int, as_of: int, *, planned: int = 72) -> list[Measurement]:
    """24 probes of each kind; how many the candidate has right. The champion: 20, 0, 20."""
    kinds = [kind for kind in ("invariant", "now", "as_of") for _ in range(24)]

    def right(*counts: int) -> list[float]:
        return [float(k < count) for count in counts for k in range(24)]

    roles = {"champion": right(20, 0, 20), "candidate": right(invariant, now, as_of)}
    share = Measurement(name="context.share@candidate", value=0.25, n=80)
    return [
        share,
        *(
            measured(f"time.acc@{role}", values, slices=kinds, planned=planned)
            for role, values in roles.items()
        ),
    ]


@pytest.mark.parametrize(
    ("made", "outcome", "word"),
    [
        (dated(20, 22, 20), Outcome.PASS, "25% of 80 kept records are looked up"),
        (dated(24, 24, 24), Outcome.PASS, "on as_of facts the share right is +1.000"),
        (dated(20, 24, 2), Outcome.FAIL, "on as_of facts the share right is +0.100"),
        (dated(4, 24, 20), Outcome.FAIL, "on invariant facts the share right is +0.200"),
        (dated(20, 1, 20), Outcome.FAIL, "on now facts the share right is +0.042"),
        (dated(20, 14, 20), Outcome.INCONCLUSIVE, "on now facts"),
    ],
)
def test_an_update_keeps_old_values_with_their_date(
    tmp_path: Path, made: list[Measurement], outcome: Outcome, word: str
) -> None:
    verdict = ruled(tmp_path, APART, made).verdict
    assert verdict.outcome is outcome
    assert word in verdict.reason


def test_dates_without_enough_evidence_never_pass(tmp_path: Path) -> None:
    whole = dated(20, 22, 20)
    for gone in whole:
        rest = [m for m in whole if m is not gone]
        assert ruled(tmp_path, APART, rest).verdict.outcome is Outcome.MISSING
    bare = [m.model_copy(update={"slices": {}}) for m in whole]
    assert ruled(tmp_path, APART, bare).verdict.outcome is Outcome.MISSING
    part = ruled(tmp_path, APART, dated(20, 22, 20, planned=90)).verdict
    assert part.outcome is Outcome.INCONCLUSIVE
    ignorant = [
        m.model_copy(update={"values": (0.0,) * 72}) if m.name.endswith("champion") else m
        for m in whole
    ]
    found = ruled(tmp_path, APART, ignorant).verdict
    assert found.outcome is Outcome.MISSING
    assert "0 probes of the kind invariant that the champion has right" in found.reason


def implied(
    right: int, before: int = 0, in_view: int = 30, facts: int = 10
) -> list[Measurement]:
    """30 implied facts about some facts: how many are right, were right, are right in view."""
    labels = [f"f{k % facts}" for k in range(30)]

    def first(count: int) -> list[float]:
        return [float(k < count) for k in range(30)]

    return [
        measured("consequences.acc@candidate", first(right), slices=labels, by="fact"),
        measured("consequences.acc@champion", first(before), slices=labels, by="fact"),
        measured("consequences_in_context.acc@champion", first(in_view), slices=labels),
    ]


@pytest.mark.parametrize(
    ("made", "outcome"),
    [
        (implied(27), Outcome.PASS),
        (implied(3), Outcome.FAIL),  # learned in one direction only
        (implied(17), Outcome.INCONCLUSIVE),
        (implied(12, in_view=12), Outcome.PASS),  # the rest is beyond the model
        (implied(30, before=25), Outcome.MISSING),  # known before: no credit
        (implied(30, in_view=7), Outcome.MISSING),
        (implied(30, facts=4), Outcome.MISSING),
    ],
)
def test_consequences_are_reached_or_the_update_waits(
    tmp_path: Path, made: list[Measurement], outcome: Outcome
) -> None:
    ruling = ruled(tmp_path, REACH, made)
    assert ruling.verdict.outcome is outcome
    assert ruling.action is (Action.PROMOTE if outcome is Outcome.PASS else Action.HOLD)


def test_consequences_without_evidence_never_pass(tmp_path: Path) -> None:
    whole = implied(27)
    for gone in whole:
        rest = [m for m in whole if m is not gone]
        assert ruled(tmp_path, REACH, rest).verdict.outcome is Outcome.MISSING
    part = [m.model_copy(update={"planned": 60}) for m in whole]
    assert ruled(tmp_path, REACH, part).verdict.outcome is Outcome.INCONCLUSIVE


def probe(n: int, kind: str, **changes: Any) -> dict[str, Any]:
    return {
        "id": f"{kind}-{n}",
        "fact": f"Ada Lumen {n}",
        "question": f"Who runs depot {n}, asked as {kind}?",
        "answer": f"Ada runs depot {n}.",
        "distractors": [f"Bo runs depot {n}.", "Nobody."],
        "kind": kind,
    } | changes


def written(path: Path, *probes: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in probes))
    return path


def test_probes_become_suites_by_their_kind(tmp_path: Path) -> None:
    kinds = ("recall", "now", "as_of", "invariant", "reversal", "hop", "alias", "negation")
    path = written(tmp_path / "p.jsonl", *(probe(n, kind) for kind in kinds for n in (1, 2)))
    time = fact_suites.build("time", path, out=tmp_path)
    assert set(time.slices.values()) == {"now", "as_of", "invariant"} and time.private
    bare = fact_suites.build("consequences", path, out=tmp_path)
    view = fact_suites.build("consequences_in_context", path, out=tmp_path)
    assert bare.items == view.items and set(bare.slices.values()) == set(kinds[4:])
    for alone, told in zip(bare.read(), view.read(), strict=True):
        number = alone.id[-1]
        assert told.texts()[0] == f"Ada runs depot {number}.\n\n{alone.texts()[0]}"
    assert "Lumen" not in json.dumps(bare.tags), "facts may be named after people"
    check_sources(("time", "consequences", "consequences_in_context", "refusal"), path)


@pytest.mark.parametrize(
    ("name", "probes", "found"),
    [
        ("time", None, "no probes were given; give --probes"),
        ("time", [probe(1, "now"), probe(1, "as_of")], "no probe is of the kind invariant"),
        ("consequences", [probe(1, "now")], "no probe is of the kind reversal"),
        ("consequences_in_context", [probe(1, "hop")], "'hop-1' has no context"),
        ("consequences", [probe(1, "hope")], "p.jsonl:1: kind"),
    ],
)
def test_what_cannot_be_asked_is_said_before_any_work(
    tmp_path: Path, name: str, probes: list[dict[str, Any]] | None, found: str
) -> None:
    path = written(tmp_path / "p.jsonl", *probes) if probes else None
    with pytest.raises(SuiteError, match=found):
        check_sources((name,), path)


def test_a_probe_of_the_shape_of_before_is_still_one(tmp_path: Path) -> None:
    old = {k: v for k, v in probe(1, "recall").items() if k != "kind"}
    assert next(read_probes(written(tmp_path / "p.jsonl", old))).kind == "recall"


def past(change: float, since: float, updates: int = 2, n: int = 20) -> list[Measurement]:
    """Two earlier updates: the change of this one, and the change since they were learned."""
    labels = [f"u-{k % updates}" for k in range(n * updates)]
    step, drop = around(change, n * updates), around(since, n * updates, seed=2)
    now = [1.0 + d for d in drop]
    before = [v - s for v, s in zip(now, step, strict=True)]
    margin = "past_updates.margin"
    return [
        Measurement(name=UPDATES, value=float(updates), n=updates),
        measured(f"{margin}@candidate", now, slices=labels),
        measured(f"{margin}@champion", before, slices=labels),
        measured(LEARNED, [1.0] * n * updates, slices=labels),
    ]


@pytest.mark.parametrize(
    ("made", "outcome", "word"),
    [
        (past(0.0, 0.0), Outcome.PASS, "over 2 earlier updates backward transfer is"),
        (past(-0.05, -0.2), Outcome.PASS, "forgetting 0.2"),
        (past(-0.5, -0.5), Outcome.FAIL, "against the champion the mean change is -0.500"),
        # Slow forgetting: nothing in this step, much since.
        (past(0.0, -0.9), Outcome.FAIL, "against what was learned the mean change is -0.900"),
        (past(-0.15, 0.0), Outcome.INCONCLUSIVE, "against the champion"),
        ([Measurement(name=UPDATES, value=0.0, n=0)], Outcome.PASS, "no earlier update"),
        ([Measurement(name=UPDATES, value=3.0, n=2)], Outcome.MISSING, "1 of 3 earlier"),
        ([], Outcome.MISSING, "past_updates.updates"),
    ],
)
def test_what_earlier_updates_taught_is_not_lost(
    tmp_path: Path, made: list[Measurement], outcome: Outcome, word: str
) -> None:
    verdict = ruled(tmp_path, FORGET, made).verdict
    assert verdict.outcome is outcome
    assert word in verdict.reason


def test_forgetting_is_not_judged_on_parts_of_the_evidence(tmp_path: Path) -> None:
    whole = past(0.0, 0.0)
    for gone in whole:
        rest = [m for m in whole if m is not gone]
        assert ruled(tmp_path, FORGET, rest).verdict.outcome is Outcome.MISSING
    other = measured(LEARNED, [1.0] * 10)
    found = ruled(tmp_path, FORGET, [*whole[:3], other]).verdict
    assert (found.outcome, "never measured when" in found.reason) == (Outcome.ERROR, True)


def test_earlier_updates_are_asked_again(tmp_path: Path) -> None:
    updates = [stored(tmp_path, f"u-{k}{'0' * 19}", answered=12) for k in range(3)]
    lost = Past("u-9", tmp_path / "gone.yaml", tmp_path / "gone.gz")
    suite = build([*updates, lost], out=tmp_path / "out")
    assert suite is not None and suite.private and suite.n == 36
    count, old = learned_then([*updates, lost], suite)
    assert (count.value, count.n) == (4.0, 3)
    assert old.items == suite.items and set(old.values) == {0.25}
    assert set(old.slices["slice"]) == {one.name for one in updates}
    assert build([lost], out=tmp_path / "none") is None
    assert learned_then([lost], None) == (Measurement(name=UPDATES, value=1.0, n=0),)
    updates[0].samples.write_bytes(b"torn")
    with pytest.raises(Unusable, match="no samples can be read"):
        build(updates, out=tmp_path / "out")


def stored(folder: Path, name: str, answered: int) -> Past:
    suite = write_suite(folder / name, "update", choices(20))
    samples = folder / name / "samples.gz"
    write_samples(
        samples,
        (
            Sample(
                item=item, slice="even", logliks=(0.0,), tokens=(1,), metrics={"margin": 0.25}
            )
            for item in suite.order[:answered]
        ),
    )
    return Past(name, suite.path, samples)
