"""The rules of gates/decide.py, and the properties that make them safe."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tidegate.gates.decide import WORST_FIRST, decide, judge
from tidegate.gates.policy.load import load_policy
from tidegate.gates.policy.nouns import Policy
from tidegate.gates.types import (
    Action,
    Broken,
    CandidateEvidence,
    Measurement,
    Outcome,
    Ruling,
)

SUBJECT = "sha256:" + "c" * 64
ITEMS = tuple(f"item-{i}" for i in range(40))
POLICY = """\
policy: test
version: 1
why: a test
data:
  - {{gate: fits_schema, why: a test}}
model:
  - gate: not_worse
    suite: refusal
    than: {{champion: {champion}, anchor: {anchor}}}
    on_fail: reject
    why: a test
  - gate: not_worse
    suite: knowledge
    than: {{champion: {champion}}}
    on_fail: hold
    why: a test
  - {{gate: learned, at_least: {gain}, on_fail: hold, why: a test}}
"""


def policy_with(
    folder: Path, champion: float = 0.1, anchor: float = 0.2, gain: float = 0.05
) -> Policy:
    path = folder / "policy.yaml"
    path.write_text(POLICY.format(champion=champion, anchor=anchor, gain=gain))
    return load_policy(path)


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    return policy_with(tmp_path_factory.mktemp("policy"))


def series(name: str, level: float, *, settings: str = "same", n: int = 40) -> Measurement:
    """Per-item values around a level; the candidate's spread is not that of the others."""
    step = 3 if name.endswith("@candidate") else 7
    values = tuple(level + 0.05 * ((step * i) % 11 - 5) / 5 for i in range(n))
    return Measurement(
        name=name,
        value=sum(values) / n,
        n=n,
        items=ITEMS[:n],
        values=values,
        settings={"prompts": settings},
    )


def evidence(refusal: float, knowledge: float, gain: float) -> tuple[Measurement, ...]:
    """What changed by how much, as the measurements that say so."""
    made = []
    for suite, change in (("refusal", refusal), ("knowledge", knowledge)):
        made += [series(f"{suite}.margin@{role}", 1.0) for role in ("champion", "anchor")]
        made.append(series(f"{suite}.margin@candidate", 1.0 + change))
    made.append(series("update.answer_nll@champion", 2.0))
    made.append(series("update.answer_nll@candidate", 2.0 - gain))
    return tuple(made)


def rulings(policy: Policy, *measurements: Measurement) -> tuple[Ruling, ...]:
    return judge(policy, CandidateEvidence(subject=SUBJECT, measurements=measurements))


def action(policy: Policy, *measurements: Measurement) -> Action:
    return decide(rulings(policy, *measurements)).action


@pytest.mark.parametrize(
    ("refusal", "knowledge", "gain", "expected"),
    [
        (0.0, 0.0, 0.5, Action.PROMOTE),
        (-0.05, 0.0, 0.5, Action.PROMOTE),
        (-0.5, 0.0, 0.5, Action.REJECT),
        (0.0, -0.5, 0.5, Action.HOLD),
        (0.0, 0.0, 0.0, Action.HOLD),
        (-0.5, -0.5, 0.0, Action.REJECT),
    ],
)
def test_the_worst_ruling_decides(
    policy: Policy, refusal: float, knowledge: float, gain: float, expected: Action
) -> None:
    assert action(policy, *evidence(refusal, knowledge, gain)) is expected


def test_a_small_loss_at_each_step_is_seen_against_the_anchor(policy: Policy) -> None:
    made = [m for m in evidence(0.0, 0.0, 0.5) if m.name != "refusal.margin@anchor"]
    made.append(series("refusal.margin@anchor", 1.3))
    assert action(policy, *made) is Action.REJECT


def test_the_limit_itself_is_not_enough(policy: Policy) -> None:
    """A mean exactly at the margin is inconclusive: the bad end of the interval counts."""
    first = rulings(policy, *evidence(-0.1, 0.0, 0.5))[0]
    assert first.verdict.outcome is Outcome.INCONCLUSIVE
    assert first.action is Action.HOLD


def test_missing_evidence_is_no_better_than_failure_and_says_what_is_missing(
    policy: Policy,
) -> None:
    made = [m for m in evidence(0.0, 0.0, 0.5) if m.name != "refusal.margin@champion"]
    first = rulings(policy, *made)[0]
    assert first.verdict.outcome is Outcome.MISSING
    assert first.verdict.reason == "no measurement named 'refusal.margin@champion'"
    assert first.action is Action.REJECT


def test_a_broken_measurement_is_an_error_with_its_reason(policy: Policy) -> None:
    made = CandidateEvidence(
        subject=SUBJECT,
        measurements=evidence(0.0, 0.0, 0.5)[:2],
        broken=(Broken(name="refusal.margin@candidate", reason="the eval ran out of memory"),),
    )
    first = judge(policy, made)[0]
    assert first.verdict.outcome is Outcome.ERROR
    assert "ran out of memory" in first.verdict.reason
    assert decide([first]).evidence_is_broken


@pytest.mark.parametrize(
    "other",
    [
        series("refusal.margin@champion", 1.0, settings="other"),
        series("refusal.margin@champion", 1.0, n=30),
        Measurement(
            name="refusal.margin@champion", value=1.0, n=40, settings={"prompts": "same"}
        ),
    ],
    ids=["measured another way", "fewer items", "no items"],
)
def test_what_cannot_be_paired_is_not_compared(policy: Policy, other: Measurement) -> None:
    made = [m for m in evidence(0.0, 0.0, 0.5) if m.name != other.name]
    first = rulings(policy, *made, other)[0]
    assert first.verdict.outcome is Outcome.ERROR
    assert first.action is Action.REJECT


def test_no_rulings_hold_and_say_so() -> None:
    nothing = decide([])
    assert nothing.action is Action.HOLD
    assert nothing.evidence_is_broken


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_cannot_be_compared_is_refused_where_it_is_born(number: float) -> None:
    with pytest.raises(ValidationError):
        Measurement(name="x", value=number, n=1)
    with pytest.raises(ValidationError):
        Measurement(name="x", value=0.0, n=1, items=("a",), values=(number,))


changes = st.sampled_from([-0.5, -0.15, -0.1, -0.05, 0.0, 0.3])
better = WORST_FIRST.index  # a higher index is a better action


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(changes, changes, st.sampled_from([-0.1, 0.0, 0.06, 0.5]), st.data())
def test_leaving_evidence_out_never_helps(
    policy: Policy, refusal: float, knowledge: float, gain: float, data: st.DataObject
) -> None:
    full = evidence(refusal, knowledge, gain)
    kept = data.draw(st.lists(st.sampled_from(full), unique_by=lambda m: m.name))
    assert better(action(policy, *kept)) <= better(action(policy, *full))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(changes, changes, st.sampled_from([-0.1, 0.0, 0.06, 0.5]), st.data())
def test_breaking_a_measurement_never_helps(
    policy: Policy, refusal: float, knowledge: float, gain: float, data: st.DataObject
) -> None:
    full = evidence(refusal, knowledge, gain)
    broken = data.draw(st.sets(st.sampled_from([m.name for m in full])))
    made = CandidateEvidence(
        subject=SUBJECT,
        measurements=full,
        broken=tuple(Broken(name=name, reason="crashed") for name in sorted(broken)),
    )
    assert better(decide(judge(policy, made)).action) <= better(action(policy, *full))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(changes, changes, st.floats(0.01, 0.3), st.floats(0.01, 0.3))
def test_a_tighter_margin_never_helps(
    tmp_path: Path, refusal: float, knowledge: float, one: float, other: float
) -> None:
    made = evidence(refusal, knowledge, 0.5)
    tight, loose = sorted((one, other))
    tighter = action(policy_with(tmp_path, champion=tight), *made)
    looser = action(policy_with(tmp_path, champion=loose), *made)
    assert better(tighter) <= better(looser)
