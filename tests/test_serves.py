"""serves and within_quarantine_budget: what each must block, and the twin that it must pass."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.tiny import tiny_base
from tidegate.flows.measure import limits_latency
from tidegate.flows.rules import DEFAULT_POLICY, read_policy
from tidegate.flows.serving import NAMES, probe_serving
from tidegate.gates.checks.serves import Serving, serves
from tidegate.gates.checks.within_quarantine_budget import Budget, within_quarantine_budget
from tidegate.gates.types import (
    BatchEvidence,
    CandidateEvidence,
    Measurement,
    MissingEvidence,
    Outcome,
)
from tidegate.training.base import find_base, load_model

SUBJECT = "sha256:" + "a" * 64
GOOD = {"non_finite_weights": 0, "reload_difference": 1e-6, "empty_share": 0.0, "megabytes": 9}


def measured(**changes: float) -> CandidateEvidence:
    values = {**GOOD, **changes}
    made = tuple(
        Measurement(name=f"serves.{k}", value=float(v), n=6) for k, v in values.items()
    )
    return CandidateEvidence(subject=SUBJECT, measurements=made)


def test_a_candidate_that_loads_and_answers_passes() -> None:
    assert serves(Serving(), measured()).outcome is Outcome.PASS


@pytest.mark.parametrize(
    "changes",
    [
        {"non_finite_weights": 1},
        {"reload_difference": 0.5},
        {"empty_share": 0.5},
        {"megabytes": 9000},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_each_way_of_not_serving_is_blocked(changes: dict[str, float]) -> None:
    assert serves(Serving(), measured(**changes)).outcome is Outcome.FAIL


@pytest.mark.parametrize("name", GOOD)
def test_a_probe_that_was_not_made_never_passes(name: str) -> None:
    full = measured()
    kept = tuple(m for m in full.measurements if m.name != f"serves.{name}")
    with pytest.raises(MissingEvidence):
        serves(Serving(), CandidateEvidence(subject=SUBJECT, measurements=kept))


@pytest.mark.parametrize(("share", "outcome"), [(0.1, Outcome.PASS), (0.11, Outcome.FAIL)])
def test_the_quarantine_budget(share: float, outcome: Outcome) -> None:
    made = (Measurement(name="data.quarantined_share", value=share, n=100),)
    evidence = BatchEvidence(subject=SUBJECT, measurements=made)
    assert within_quarantine_budget(Budget(max_share=0.1), evidence).outcome is outcome


def test_latency_is_evidence_only_where_a_policy_limits_it() -> None:
    rules = read_policy(DEFAULT_POLICY)
    use = next(use for use in rules.model if use.gate == "serves")
    strict = use.model_copy(update={"params": Serving(max_seconds_per_token=1.0)})
    limited = rules.model_copy(update={"model": (strict,)})
    assert not limits_latency(rules) and limits_latency(limited)
    child = rules.model_copy(update={"parent": limited})
    assert limits_latency(child) and limits_latency(rules.model_copy(update={"parent": child}))


@pytest.mark.parametrize(
    ("gates", "asked"), [({"serves"}, True), ({"sound_adapter"}, True), ({"learned"}, False)]
)
def test_a_process_is_started_only_for_a_gate_that_reads_it(
    gates: set[str], asked: bool
) -> None:
    rules = read_policy(DEFAULT_POLICY)
    assert rules.served()
    few = rules.model_copy(
        update={"model": tuple(use for use in rules.model if use.gate in gates)}
    )
    assert few.model and few.served() is asked
    child = few.model_copy(update={"parent": rules})
    assert child.served(), "a parent asks too"


@pytest.mark.slow
def test_the_probe_tells_a_whole_adapter_from_a_damaged_one(tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    base = find_base(str(tiny_base(tmp_path / "base")), tmp_path / "cache")
    model, _ = load_model(base)
    adapter = tmp_path / "adapter"
    get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"])).save_pretrained(adapter)
    model, tokenizer = load_model(base, adapter)

    good, broken = probe_serving(base, adapter, model, tokenizer)
    values = {m.name: m.value for m in good}
    assert not broken
    assert values["serves.reload_difference"] < 1e-3
    assert values["serves.non_finite_weights"] == 0

    weights = adapter / "adapter_model.safetensors"
    save_file({k: v + 5.0 for k, v in load_file(weights).items()}, weights)
    good, broken = probe_serving(base, adapter, model, tokenizer)
    changed = {m.name: m.value for m in good}
    assert not broken and changed["serves.reload_difference"] > 1e-3

    spoiled = load_file(weights)
    spoiled[min(spoiled)].view(-1)[0] = torch.nan
    save_file(spoiled, weights)
    good, broken = probe_serving(base, adapter, model, tokenizer)
    assert [(m.name, m.value) for m in good] == [("serves.non_finite_weights", 1.0)]
    assert {b.name for b in broken} == {f"serves.{name}" for name in NAMES[1:]}
    assert broken[0].reason == "1 weights are not finite numbers"

    weights.write_bytes(weights.read_bytes()[:100])
    good, broken = probe_serving(base, adapter, model, tokenizer)
    assert not good and {b.name for b in broken} == {f"serves.{name}" for name in NAMES}
