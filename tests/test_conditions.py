"""Envelope, budget, proof and approval: each holds what is not in order, and nothing else."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tidegate.gates.conditions import (
    Facts,
    Spent,
    is_proved,
    needs_approval,
    within_budget,
    within_envelope,
)
from tidegate.gates.policy.load import load_policy
from tidegate.gates.policy.nouns import Policy
from tidegate.gates.policy.proof import FIXTURES, Case, ProofRecord, proof_path, read_proof
from tidegate.gates.types import Action, Outcome

HEAD = """\
policy: p
version: 1
why: a test
data:
  - {gate: fits_schema, why: a test}
model:
  - {gate: serves, why: a test}
"""
BASE, OTHER = "sha256:" + "b" * 64, "sha256:" + "0" * 64
FACTS = Facts(
    base=BASE,
    method="anchored",
    rank=16,
    alpha=32.0,
    learning_rate=5e-4,
    epochs=2,
    sources=("support-chat", "email"),
    rows=300,
    replay_share=0.25,
)
ENVELOPE = f"""\
envelope:
  base: {{digest: "{BASE}"}}
  recipe: {{methods: [anchored], rank: "<=16", alpha: 32, learning_rate: "<=5e-4", epochs: "1..2"}}
  data: {{sources: [support-chat, email], rows: "50..300", replay_share: ">=0.25"}}
  outside: OUTSIDE
"""


def policy(folder: Path, more: str = "") -> Policy:
    path = folder / "p.yaml"
    path.write_text(HEAD + more)
    return load_policy(path)


def test_an_update_inside_the_envelope_needs_nobody(tmp_path: Path) -> None:
    ruling = within_envelope(policy(tmp_path, ENVELOPE.replace("OUTSIDE", "reject")), FACTS)
    assert ruling is not None and ruling.action is Action.PROMOTE


@pytest.mark.parametrize("outside", ["hold", "reject"])
@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"base": OTHER}, "the base is sha256:0000"),
        ({"method": "lora"}, "the method 'lora' is not one of anchored"),
        ({"rank": 17}, "rank 17 is outside <=16"),
        ({"rank": None}, "rank is limited to <=16.0, and the method has none"),
        ({"alpha": 31.0}, "alpha 31 is outside 32.0..32.0"),
        ({"learning_rate": 6e-4}, "learning_rate 0.0006 is outside"),
        ({"learning_rate": float("nan")}, None),
        ({"epochs": 3}, "epochs 3 is outside 1.0..2.0"),
        ({"sources": ("support-chat", "x")}, "1 sources are not among support-chat, email"),
        ({"rows": 49}, "rows 49 is outside"),
        ({"rows": 301}, "rows 301 is outside"),
        ({"replay_share": 0.2}, "replay_share 0.2 is outside >=0.25"),
    ],
)
def test_each_way_out_of_the_envelope(
    tmp_path: Path, outside: str, changed: dict[str, object], says: str | None
) -> None:
    rules = policy(tmp_path, ENVELOPE.replace("OUTSIDE", outside))
    ruling = within_envelope(rules, FACTS.model_copy(update=changed))
    assert ruling is not None and ruling.verdict.outcome is Outcome.FAIL
    assert ruling.action is Action(outside)
    assert says is None or says in ruling.verdict.reason


def test_what_a_policy_does_not_ask_is_no_ruling(tmp_path: Path) -> None:
    rules = policy(tmp_path)
    assert within_envelope(rules, FACTS) is None
    assert within_budget(rules, Spent(wall=1e9, eval_items=10**9, gpu_hours=1e6)) is None
    assert is_proved(rules, None) is None
    assert needs_approval(rules) is None


@pytest.mark.parametrize(
    ("spent", "action"),
    [
        (Spent(wall=7200, eval_items=20_000, gpu_hours=6), Action.PROMOTE),
        (Spent(wall=7201, eval_items=0, gpu_hours=0), Action.HOLD),
        (Spent(wall=0, eval_items=20_001, gpu_hours=0), Action.HOLD),
        (Spent(wall=0, eval_items=0, gpu_hours=6.1), Action.HOLD),
    ],
)
def test_over_budget_is_held(tmp_path: Path, spent: Spent, action: Action) -> None:
    rules = policy(tmp_path, "budget: {wall: 2h, eval_items: 20000, gpu_hours: 6}\n")
    ruling = within_budget(rules, spent)
    assert ruling is not None and ruling.action is action


PROOF = "proof: {must_block: [empty_batch], must_pass: [identical_to_champion]}\n"


def record(rules: Policy, *, held: bool = True, both: bool = True) -> ProofRecord:
    cases = [
        Case(fixture="empty_batch", expected="block", held=held, seen="rejected"),
        Case(fixture="identical_to_champion", expected="pass", held=True, seen="promoted"),
    ]
    return ProofRecord(
        policy=rules.digest,
        code=OTHER,
        base=BASE,
        proved_at=datetime(2026, 11, 1, tzinfo=UTC),
        cases=tuple(cases if both else cases[:1]),
    )


def test_a_policy_without_a_proof_of_itself_promotes_nothing(tmp_path: Path) -> None:
    rules = policy(tmp_path, PROOF)
    other = policy(tmp_path, PROOF + "budget: {wall: 2h}\n")
    expected = {
        "never proved": (None, Outcome.MISSING),
        "changed since": (record(other), Outcome.MISSING),
        "did not come out": (record(rules, held=False), Outcome.FAIL),
        "came out as": (record(rules), Outcome.PASS),
    }
    for says, (found, outcome) in expected.items():
        ruling = is_proved(rules, found)
        assert ruling is not None and ruling.verdict.outcome is outcome
        assert says in ruling.verdict.reason
        assert (ruling.action is Action.PROMOTE) == (outcome is Outcome.PASS)
    short = is_proved(rules, record(rules, both=False))
    assert short is not None and short.action is Action.HOLD


def test_a_policy_may_say_that_it_needs_no_proof(tmp_path: Path) -> None:
    assert is_proved(policy(tmp_path, PROOF.replace("}", ", required: false}")), None) is None


def test_a_proof_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    rules = policy(tmp_path, PROOF)
    beside = proof_path(tmp_path / "p.yaml")
    assert read_proof(tmp_path / "p.yaml") is None
    beside.write_text(record(rules).model_dump_json())
    assert read_proof(tmp_path / "p.yaml") == record(rules)
    beside.write_text(record(rules).model_dump_json()[:-9])
    assert read_proof(tmp_path / "p.yaml") is None


def test_always_waits_for_people(tmp_path: Path) -> None:
    rules = policy(tmp_path, "approval: {when: always, quorum: 2, roles: [safety, owner]}\n")
    ruling = needs_approval(rules)
    assert ruling is not None and ruling.action is Action.HOLD
    assert ruling.verdict.reason == "waits for 2 of safety or owner"


def test_every_fixture_says_what_it_plants() -> None:
    assert all(len(said) > 20 for said in FIXTURES.values())
