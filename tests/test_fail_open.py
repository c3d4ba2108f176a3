"""Ways in which well-known tools let a change through that nobody judged: none of them here.

Each test is named for the tool and what happens there. What happens here is in its body.
"""

from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.checking import checked, plain
from tests.test_decide import SUBJECT, action, evidence, policy_with, rulings, series
from tidegate.flows.ingest import IngestError
from tidegate.gates.decide import decide, judge
from tidegate.gates.policy.load import PolicyError, load_policy
from tidegate.gates.types import Action, Broken, CandidateEvidence, Measurement, Outcome

NO_GATES = "policy: p\nversion: 1\nwhy: a test\ndata: []\nmodel: []\n"


def test_tfx_ignores_change_thresholds_without_a_baseline(tmp_path: Path) -> None:
    policy = policy_with(tmp_path)
    full = evidence(0.0, 0.0, 0.5)
    assert action(policy, *full) is Action.PROMOTE
    left = [m for m in full if not m.name.endswith("@champion")]
    found = rulings(policy, *left)
    assert [r.verdict.outcome for r in found] == [Outcome.MISSING] * 3
    assert decide(found).action is Action.REJECT


def test_tfx_pusher_pushes_with_a_warning_where_no_blessing_is_wired(tmp_path: Path) -> None:
    found = rulings(policy_with(tmp_path))  # nothing was measured at all
    assert {r.verdict.outcome for r in found} == {Outcome.MISSING}
    assert decide(found).action is not Action.PROMOTE


def test_tfma_computes_intervals_and_gates_on_the_point_value(tmp_path: Path) -> None:
    policy = policy_with(tmp_path, champion=0.1)
    first = rulings(policy, *evidence(-0.095, 0.0, 0.5))[0]
    (against, _) = first.verdict.compared
    assert against.mean > against.limit  # a point value would pass
    assert against.low is not None and against.low < against.limit
    assert first.verdict.outcome is Outcome.INCONCLUSIVE
    assert first.action is Action.HOLD


@pytest.mark.parametrize("text", [NO_GATES, NO_GATES.replace("data: []\n", "")])
def test_mlflow_passes_without_thresholds(tmp_path: Path, text: str) -> None:
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(PolicyError, match="there is no gate; a policy needs one here"):
        load_policy(tmp_path / "p.yaml")


def test_mlflow_crashes_on_a_metric_that_is_no_number(tmp_path: Path) -> None:
    with pytest.raises(ValidationError):
        series("refusal.margin@candidate", float("nan"))
    refused = Broken(name="refusal.margin@candidate", reason="item 3: the value is nan")
    made = CandidateEvidence(
        subject=SUBJECT, measurements=evidence(0.0, 0.0, 0.5), broken=(refused,)
    )
    first = judge(policy_with(tmp_path), made)[0]
    assert first.verdict.outcome is Outcome.ERROR and first.action is Action.REJECT


def test_mlflow_cannot_say_no_worse_than_the_baseline(tmp_path: Path) -> None:
    """A small loss whose size is certain passes within its margin; MLflow asks for a gain."""
    assert action(policy_with(tmp_path), *evidence(-0.03, -0.03, 0.5)) is Action.PROMOTE


ASKED_ONLY = [{"role": "user", "content": "q"}]


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("a batch without rows", None),
        ("every message is null", {"messages": None}),
        ("every answer is gone", {"messages": ASKED_ONLY}),
        ("every consent is null", {"consent": None}),
    ],
)
def test_great_expectations_succeeds_on_nothing(
    tmp_path: Path, name: str, changes: dict[str, object] | None
) -> None:
    drop = [] if changes is None else [{**made, **changes} for made in plain(30)]
    try:
        result, _, kept = checked(tmp_path, drop)
    except IngestError as refused:
        assert "drop.jsonl" in str(refused)
    else:
        assert result.decision.action is not Action.PROMOTE
        assert not kept


def test_great_expectations_succeeds_with_an_empty_suite(tmp_path: Path) -> None:
    """One gate that judges no single record leaves Great Expectations without a suite.

    What decides is then the gate's own number, never the success of an empty suite.
    """
    data = "  - {gate: within_quarantine_budget, why: a test}"
    result, _, _ = checked(tmp_path, plain(3), data)
    assert (
        result.decision.action is Action.PROMOTE
    )  # three clean records, one gate that says so
    (ruling,) = result.rulings
    assert ruling.verdict.observed is not None


def test_nemo_evaluator_says_go_when_nothing_was_gated() -> None:
    nothing = decide([])
    assert nothing.action is Action.HOLD
    assert nothing.rulings[0].verdict.outcome is Outcome.ERROR


def test_nemo_evaluator_scores_an_outage_as_wrong_answers(tmp_path: Path) -> None:
    """A suite that broke is an ERROR with its reason, not a low score."""
    full = [m for m in evidence(0.0, 0.0, 0.5) if m.name != "refusal.margin@candidate"]
    out = Broken(name="refusal.margin@candidate", reason="ConnectionError: the server is gone")
    made = CandidateEvidence(subject=SUBJECT, measurements=tuple(full), broken=(out,))
    first = judge(policy_with(tmp_path), made)[0]
    assert first.verdict.outcome is Outcome.ERROR
    assert "the server is gone" in first.verdict.reason


def test_zenml_promotes_equal_metrics_because_nothing_was_compared(tmp_path: Path) -> None:
    full = evidence(0.0, 0.0, 0.5)
    bare = [  # equal means, and no item behind them
        Measurement(name=m.name, value=m.value, n=m.n, settings=m.settings) for m in full
    ]
    found = rulings(policy_with(tmp_path), *bare)
    assert {r.verdict.outcome for r in found} == {Outcome.ERROR}
    assert all("no per-item values" in r.verdict.reason for r in found)


def test_soup_ignores_keys_it_does_not_know(tmp_path: Path) -> None:
    text = (
        "policy: p\nversion: 1\nwhy: a test\ncanary: {max_loss: 0.1}\n"
        "data:\n  - {gate: fits_schema, why: a test}\n"
        "model:\n  - {gate: serves, why: a test}\n"
    )
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(PolicyError, match="p.yaml:4: there is no key 'canary'"):
        load_policy(tmp_path / "p.yaml")


@pytest.mark.parametrize(
    ("tool", "what"),
    [
        ("soup: a scorer change moved a baseline", "scorer"),
        ("lm-eval: results move with the batch size", "batches"),
        ("lm-eval: another task version", "version"),
        ("lm-eval: another prompt", "prompts"),
        ("lm-eval: another few-shot setting", "shots"),
        ("lm-eval: another precision", "dtype"),
    ],
)
def test_measured_another_way_is_not_compared(tmp_path: Path, tool: str, what: str) -> None:
    full = {m.name: m for m in evidence(0.0, 0.0, 0.5)}
    name = "refusal.margin@champion"
    moved = {**(full[name].settings or {}), what: "another"}
    full[name] = full[name].model_copy(update={"settings": moved})
    first = rulings(policy_with(tmp_path), *full.values())[0]
    assert first.verdict.outcome is Outcome.ERROR
    assert f"another {what}" in first.verdict.reason


def test_lm_eval_compares_results_that_are_not_paired(tmp_path: Path) -> None:
    full = {m.name: m for m in evidence(0.0, 0.0, 0.5)}
    name = "refusal.margin@champion"
    others = tuple(f"other-{i}" for i in range(40))
    full[name] = full[name].model_copy(update={"items": others})
    first = rulings(policy_with(tmp_path), *full.values())[0]
    assert first.verdict.outcome is Outcome.ERROR
    assert "differ in 80 items" in first.verdict.reason
