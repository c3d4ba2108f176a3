"""Planted numbers: a policy with the gate stops them, and one that stops everything proves nothing."""

from pathlib import Path

import pytest

from tests.aligning import policy
from tidegate.flows.home import Home
from tidegate.flows.proving import numbers
from tidegate.flows.proving.bench import Bench
from tidegate.gates.policy.proof import FIXTURES, ONE_GATE, fixtures_for
from tidegate.gates.types import ignore_progress
from tidegate.training.base import Base

DRIFT = "gate: drift_within_budget, allowance: {refusal: 0.3, general_text: 0.1}"
APART = "gate: keeps_time_apart"
REACH = "gate: reaches_consequences"


@pytest.mark.parametrize(
    ("fixture", "gate", "passed", "word"),
    [
        ("many_small_losses", DRIFT, False, "blocked by drift_within_budget"),
        ("many_small_losses", DRIFT + ", total: 0.9", True, "every gate passed"),
        ("many_small_losses", APART, True, "the policy has no gate"),
        ("overwritten_dated_fact", APART, False, "blocked by keeps_time_apart"),
        ("overwritten_dated_fact", APART + ", known: 0.99", True, "blocks the clean twin"),
        ("one_direction_only", REACH, False, "blocked by reaches_consequences"),
        ("one_direction_only", DRIFT, True, "the policy has no gate"),
    ],
)
def test_a_planted_case_shows_what_a_gate_stops(
    tmp_path: Path, base: Base, fixture: str, gate: str, passed: bool, word: str
) -> None:
    bench = Bench(policy(tmp_path, gate), base, Home(tmp_path), (), ignore_progress)
    found = getattr(numbers, fixture)(bench)
    assert (found.passed, word in found.seen) == (passed, True), found.seen


@pytest.fixture
def base(tmp_path: Path) -> Base:
    from tests.tiny import tiny_base
    from tidegate.training.base import find_base

    return find_base(str(tiny_base(tmp_path / "base")), tmp_path / "cache", ignore_progress)


def test_cases_of_one_gate_are_planted_where_the_gate_is() -> None:
    plain = fixtures_for(["not_worse"])
    assert set(plain) == set(FIXTURES) - set(ONE_GATE)
    assert fixtures_for(["stays_aligned"]).items() - plain.items() == {
        ("narrow_bad_advice", "block"),
        ("narrow_good_advice", "pass"),
    }
    assert set(fixtures_for(ONE_GATE.values())) == set(FIXTURES)
