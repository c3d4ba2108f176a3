"""Properties of the whole decision, over random evidence: nothing that is worse helps."""

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.test_decide import SUBJECT, better, series
from tidegate.gates.decide import decide, judge, unsettled
from tidegate.gates.gate import GATES, load_gates
from tidegate.gates.policy.load import load_policy
from tidegate.gates.policy.nouns import Policy
from tidegate.gates.statistics.multiple import holm
from tidegate.gates.types import (
    Action,
    CandidateEvidence,
    Evidence,
    Measurement,
    Outcome,
    Verdict,
)

TEXT = """\
policy: every comparing gate
version: 1
why: a test
statistics: {{on_inconclusive: {unsure}}}
data:
  - {{gate: fits_schema, why: a test}}
model:
  - gate: not_worse
    suite: refusal
    than: {{champion: {refusal}, anchor: 0.4}}
    slices: {{worst: {worst}, min_items: 20}}
    on_fail: reject
    why: a test
  - {{gate: not_worse, suite: knowledge, than: {{champion: 0.1}}, on_fail: hold, why: a test}}
  - {{gate: gains_plausibly, suite: knowledge, at_most: {cap}, on_fail: reject, why: a test}}
  - {{gate: reaches, suite: knowledge, at_least: {level}, on_fail: hold, why: a test}}
  - {{gate: learned, at_least: {gain}, on_fail: hold, why: a test}}
"""
LIMITS = {"refusal": 0.15, "worst": 0.3, "cap": 0.3, "level": 0.5, "gain": 0.05}
STRICTER_IS_LOWER = {"refusal", "worst", "cap"}


def policy(unsure: str = "hold", **limits: float) -> Policy:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "p.yaml"
        path.write_text(TEXT.format(unsure=unsure, **{**LIMITS, **limits}))
        return load_policy(path)


def measured(name: str, level: float, n: int = 40) -> Measurement:
    made = series(name, level, n=n)
    slices = tuple("even" if i % 2 == 0 else "odd" for i in range(n))
    return made.model_copy(update={"slices": {"slice": slices}, "planned": 40})


def zero_or_one(name: str, right: int, n: int = 40) -> Measurement:
    made = measured(name, 0.0, n)
    return made.model_copy(update={"values": tuple(float(i < right) for i in range(n))})


def evidence(
    refusal: float, knowledge: float, right: int, gain: float, n: int = 40
) -> tuple[Measurement, ...]:
    made = [measured(f"refusal.margin@{role}", 1.0, n) for role in ("champion", "anchor")]
    made.append(measured("refusal.margin@candidate", 1.0 + refusal, n))
    made.append(measured("knowledge.margin@champion", 1.0, n))
    made.append(measured("knowledge.margin@candidate", 1.0 + knowledge, n))
    made.append(zero_or_one("knowledge.acc@candidate", min(right, n), n))
    made.append(measured("update.answer_nll@champion", 2.0, n))
    made.append(measured("update.answer_nll@candidate", 2.0 - gain, n))
    return tuple(made)


everything = st.builds(
    evidence,
    st.sampled_from([-0.6, -0.17, -0.12, 0.0, 0.2]),
    st.sampled_from([-0.5, -0.09, 0.0, 0.29, 0.6]),
    st.sampled_from([8, 20, 26, 40]),
    st.sampled_from([0.0, 0.06, 0.5]),
    st.sampled_from([16, 40]),
)
modes = st.sampled_from(["escalate", "hold", "reject"])


def action(rules: Policy, made: tuple[Measurement, ...]) -> Action:
    return decide(judge(rules, CandidateEvidence(subject=SUBJECT, measurements=made))).action


def test_the_best_evidence_is_promoted_in_every_mode() -> None:
    """Without this the properties below could hold of a core that never promotes."""
    best = evidence(0.0, 0.0, 40, 0.5)
    assert [action(policy(mode), best) for mode in ("escalate", "hold", "reject")] == [
        Action.PROMOTE
    ] * 3


@settings(deadline=None, max_examples=60)
@given(everything, modes, st.data())
def test_leaving_out_any_measurement_never_helps(
    made: tuple[Measurement, ...], mode: str, data: st.DataObject
) -> None:
    left_out = data.draw(st.sampled_from(made))
    rest = tuple(m for m in made if m is not left_out)
    assert better(action(policy(mode), rest)) <= better(action(policy(mode), made))


@settings(deadline=None, max_examples=40)
@given(
    everything, modes, st.sampled_from(["not_worse", "gains_plausibly", "reaches", "learned"])
)
def test_a_gate_that_crashes_never_helps(
    made: tuple[Measurement, ...], mode: str, name: str
) -> None:
    rules = policy(mode)
    before = action(rules, made)

    def crashes(_: object, __: Evidence) -> Verdict:
        raise ZeroDivisionError("on purpose")

    working = load_gates()[name]
    GATES[name] = replace(working, check=crashes)
    try:
        found = judge(rules, CandidateEvidence(subject=SUBJECT, measurements=made))
    finally:
        GATES[name] = working
    broken = [ruling for ruling in found if ruling.gate == name]
    assert all(r.verdict.outcome is Outcome.ERROR for r in broken) and broken
    assert better(decide(found).action) <= better(before)


@settings(deadline=None, max_examples=60)
@given(everything, modes, st.sampled_from(sorted(LIMITS)), st.floats(0.3, 0.95))
def test_tightening_any_limit_never_helps(
    made: tuple[Measurement, ...], mode: str, limit: str, share: float
) -> None:
    factor = share if limit in STRICTER_IS_LOWER else 1 / share
    tight = policy(mode, **{limit: min(0.99, LIMITS[limit] * factor)})
    assert better(action(tight, made)) <= better(action(policy(mode), made))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.01, 0.5), st.data())
def test_worse_evidence_never_takes_a_rejection_back(
    p_values: list[float], alpha: float, data: st.DataObject
) -> None:
    """What makes Holm safe here: lowering one p-value only adds rejections."""
    i = data.draw(st.integers(0, len(p_values) - 1))
    worse = [*p_values]
    worse[i] = data.draw(st.floats(0, worse[i]))
    before, after = holm(p_values, alpha), holm(worse, alpha)
    assert all(now for now, was in zip(after, before, strict=True) if was)


@pytest.mark.parametrize(
    ("mode", "n", "refusal", "wanted"),
    [
        ("escalate", 16, 0.0, {"refusal"}),  # slices need more than 16 items
        ("escalate", 40, -0.14, set()),  # measured whole: nothing more could say
        ("hold", 16, 0.0, set()),  # this policy never measures in parts
    ],
)
def test_which_suites_want_more_items(
    mode: str, n: int, refusal: float, wanted: set[str]
) -> None:
    made = CandidateEvidence(subject=SUBJECT, measurements=evidence(refusal, 0.0, 40, 0.5, n))
    assert (
        wanted <= set(unsettled(policy(mode), made))
        if wanted
        else not unsettled(policy(mode), made)
    )


def test_a_part_of_a_suite_is_an_error_where_the_policy_wants_all_of_it() -> None:
    rules = policy("hold")
    found = judge(
        rules, CandidateEvidence(subject=SUBJECT, measurements=evidence(0.0, 0.0, 40, 0.5, 16))
    )
    assert {r.verdict.outcome for r in found} == {Outcome.ERROR}
    assert all("only 16 of 40 items" in r.verdict.reason for r in found)
