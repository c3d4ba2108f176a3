"""Measuring until the gates are settled: how many items, on which models, and why it ends."""

import gzip
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

from tests.suites import choices, passages, tiny_model, write_suite
from tests.tiny import tiny_records
from tidegate.evals.suite import Suite
from tidegate.flows import measure as measuring
from tidegate.flows.home import Home
from tidegate.flows.line import Line, open_line
from tidegate.flows.loaded import load_measured
from tidegate.flows.measure import Material, Measured, measure, next_items
from tidegate.gates.decide import decide, judge
from tidegate.gates.digest import digest_folder
from tidegate.gates.policy.load import load_policy
from tidegate.gates.policy.nouns import Policy
from tidegate.gates.types import Action, Candidate, Outcome, Progress, ignore_progress

POLICY = """\
policy: tiny
version: 1
why: a test
statistics: {on_inconclusive: WHEN_UNSURE, sequential: {chunk: 8}}
budget: {BUDGET}
data:
  - {gate: fits_schema, min_rows: 20, why: an empty drop is an outage}
model:
  - {gate: not_worse, suite: easy, metric: acc, than: {champion: 0.9}, why: one chunk settles it}
  - {gate: not_worse, suite: hard, than: {champion: 0.2}, why: five chunks settle it}
"""
ROLES = ("anchor", "champion", "candidate")


@pytest.mark.parametrize(
    ("had", "wanted", "chunk", "budget", "expected"),
    [
        ({}, "ab", 8, None, {"a": 8, "b": 8}),
        ({}, "ab", None, None, {"a": 20, "b": 20}),
        ({"a": 8, "b": 8}, "b", 8, None, {"a": 8, "b": 16}),
        ({"a": 8, "b": 16}, "b", 8, None, {"a": 8, "b": 20}),
        ({"a": 8, "b": 20}, "b", 8, None, {"a": 8, "b": 20}),
        ({}, "ab", 8, 15, {"a": 8}),
        ({}, "ab", 8, 16, {"a": 8, "b": 8}),
        ({"a": 8, "b": 8}, "ab", 8, 24, {"a": 16, "b": 8}),
        ({"a": 8, "b": 8}, "ab", 8, 23, {"a": 8, "b": 8}),
        ({"a": 16, "b": 8}, "ab", 8, 28, {"a": 20, "b": 8}),
        ({}, "ab", None, 39, {"a": 20}),
        ({}, "ab", None, 19, {}),
    ],
)
def test_what_is_asked_next(
    tmp_path: Path,
    had: dict[str, int],
    wanted: str,
    chunk: int | None,
    budget: int | None,
    expected: dict[str, int],
) -> None:
    suites = [write_suite(tmp_path, name, choices(20)) for name in wanted]
    assert next_items(had, suites, chunk, budget) == expected


class World:
    """A line on a tiny base, two suites, and candidates."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = tiny_model(folder / "base")[0]
        self.line = open_line("tiny", str(folder / "base"), Home(folder / "home"))
        self.suites = [
            write_suite(folder / "suites", name, choices(60)) for name in ("easy", "hard")
        ]
        told = [(f"What is in drawer {i}?", f"In drawer {i} is a key.") for i in range(4)]
        self.kept = tiny_records(folder / "kept.parquet", told)

    def adapter(self, spread: float) -> Path:
        """An adapter that adds noise of this spread; 0 answers as the base does."""
        folder = self.folder / f"adapter-{spread}"
        if not folder.exists():
            torch.manual_seed(1)
            config = LoraConfig(r=2, target_modules=["q_proj", "down_proj"])
            model: Any = get_peft_model(tiny_model(self.folder / "base")[0], config)
            for name, weight in model.named_parameters():
                if "lora_B" in name:
                    torch.nn.init.normal_(weight, std=spread)
            model.save_pretrained(folder)
        return folder

    def policy(self, when_unsure: str = "escalate", budget: str = "") -> Policy:
        path = self.folder / "policy.yaml"
        path.write_text(POLICY.replace("WHEN_UNSURE", when_unsure).replace("BUDGET", budget))
        return load_policy(path)

    def measure(
        self,
        policy: Policy,
        spread: float = 0.0,
        *,
        cache: str = "home",
        suites: list[Suite] | None = None,
        progress: Callable[[Progress], None] = ignore_progress,
    ) -> Measured:
        adapter = self.adapter(spread)
        candidate = Candidate(base=self.line.base.digest, adapter=digest_folder(adapter))
        line: Line = replace(self.line, home=Home(self.folder / cache))
        material = Material(kept=self.kept, seed=0)
        return measure(
            line, policy, candidate, adapter, suites or self.suites, material, progress
        )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("measure"))


def items(measured: Measured) -> dict[str, int]:
    """Items of each suite, the same on all three models."""
    counts = {(run.suite, run.role): run.items for run in measured.runs}
    found = {suite: count for (suite, _), count in counts.items()}
    assert counts == {(suite, role): found[suite] for suite in found for role in ROLES}
    for m in measured.evidence.measurements:
        if m.items:
            assert len(m.items) == found[m.name.split(".")[0]] and m.planned == 60
    return found


def outcomes(policy: Policy, measured: Measured) -> list[Outcome]:
    return [ruling.verdict.outcome for ruling in judge(policy, measured.evidence)]


def spent(measured: Measured) -> tuple[float, int | None]:
    found = measured.evidence["spent.eval_items@candidate"]
    assert found.n == found.value
    return found.value, found.planned


@pytest.mark.slow
def test_it_ends_when_every_gate_is_settled(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[Path | None] = []

    def counted(base: Any, adapter: Path | None = None) -> Any:
        loads.append(adapter)
        return load_measured(base, adapter)

    monkeypatch.setattr(measuring, "load_measured", counted)
    policy = world.policy()
    found = world.measure(policy)
    assert items(found) == {"easy": 8, "hard": 40}
    assert outcomes(policy, found) == [Outcome.PASS, Outcome.PASS]
    assert spent(found) == (48, 120)
    assert found.stopped == "The candidate answered 48 of 120 items: no gate needs more."
    assert loads == [None, world.adapter(0.0)], "champion and anchor are one model"

    again = world.measure(policy)
    assert again.evidence == found.evidence and all(run.cached for run in again.runs)
    assert all(run.tokens == 0 for run in again.runs)
    for entry in sorted((world.folder / "home").glob("cache/evals/*.json.gz"))[::2]:
        entry.write_bytes(gzip.compress(b"damaged"))
    assert world.measure(policy).evidence == found.evidence


@pytest.mark.slow
def test_a_run_that_was_killed_comes_to_the_same(world: World) -> None:
    policy = world.policy()
    whole = world.measure(policy, 0.1, cache="one")

    def kill(now: Progress) -> None:
        if now.stage == "measure hard of the candidate from 9":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        world.measure(policy, 0.1, cache="two", progress=kill)
    again = world.measure(policy, 0.1, cache="two")
    assert again.evidence == whole.evidence and again.stopped == whole.stopped
    cached = {(run.suite, run.role): run.cached for run in again.runs}
    assert cached["easy", "candidate"] and not cached["hard", "candidate"]


@pytest.mark.slow
def test_the_budget_ends_it_and_the_update_is_held(world: World) -> None:
    policy = world.policy(budget="eval_items: 39")
    found = world.measure(policy)
    assert items(found) == {"easy": 8, "hard": 24}
    assert outcomes(policy, found) == [Outcome.PASS, Outcome.INCONCLUSIVE]
    assert decide(judge(policy, found.evidence)).action is Action.HOLD
    assert spent(found) == (32, 120)
    assert found.stopped == (
        "The candidate answered 32 of 120 items: budget.eval_items of 39 has no room for more "
        "of hard."
    )


@pytest.mark.slow
def test_without_escalation_everything_is_measured_at_once(world: World) -> None:
    policy = world.policy("hold")
    found = world.measure(policy)
    assert items(found) == {"easy": 60, "hard": 60}
    assert spent(found) == (120, 120)
    assert found.stopped == "The candidate answered 120 of 120 items: every suite is whole."
    part = world.measure(world.policy())
    for ours in (m for m in part.evidence.measurements if m.items):
        values = found.evidence[ours.name].values
        assert ours.values == values[: len(ours.items)], "the same items have the same values"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("when_unsure", "budget", "room"), [("hold", 100, 60), ("escalate", 12, 8)]
)
def test_a_suite_that_the_budget_has_no_room_for_is_broken(
    world: World, when_unsure: str, budget: int, room: int
) -> None:
    policy = world.policy(when_unsure, f"eval_items: {budget}")
    found = world.measure(policy)
    assert items(found) == {"easy": room, "hard": 0}
    assert outcomes(policy, found)[1] is Outcome.ERROR
    assert decide(judge(policy, found.evidence)).action is not Action.PROMOTE
    assert {b.name for b in found.evidence.broken} == {
        f"hard.{metric}@{role}" for metric in ("margin", "acc") for role in ROLES
    }
    assert found.evidence.broken[0].reason == (
        f"budget.eval_items is {budget}, {room} went to other suites, and hard has 60 items; "
        "raise the budget or ask about fewer suites"
    )
    assert "has no room for hard" in found.stopped


@pytest.mark.slow
def test_a_suite_that_breaks_on_its_way_has_no_numbers(world: World) -> None:
    """The chunks before the one that broke were fine, and do not count."""
    asked = choices(60)
    late = write_suite(world.folder / "plain", "hard", asked).order[20]
    for item in asked:
        if item["id"] == late:
            item["question"] = "why? " * 200
    broken = write_suite(world.folder / "broken", "hard", asked)
    assert broken.order.index(late) == 20
    policy = world.policy()
    found = world.measure(policy, suites=[world.suites[0], broken])
    assert outcomes(policy, found) == [Outcome.PASS, Outcome.ERROR]
    assert not [m for m in found.evidence.measurements if m.name.startswith("hard.")]
    assert "the model reads 512" in found.evidence.broken[0].reason


@pytest.mark.slow
def test_a_suite_that_no_gate_asks_about_gets_one_chunk(world: World) -> None:
    prose = write_suite(world.folder / "suites", "prose", passages(20))
    found = world.measure(world.policy(), suites=[*world.suites, prose])
    assert {run.suite: run.items for run in found.runs} == {"easy": 8, "hard": 40, "prose": 8}


PROBED = "  - {gate: no_memorised_secrets, why: a probe}\n"


@pytest.mark.slow
def test_a_probe_runs_only_if_a_gate_asks_for_it(world: World) -> None:
    silent: list[Progress] = []
    assert not world.measure(
        world.policy("hold"), cache="probes", progress=silent.append
    ).probed
    assert not [now for now in silent if now.stage.startswith("probe ")]

    path = world.folder / "probed.yaml"
    path.write_text((world.folder / "policy.yaml").read_text() + PROBED)
    policy, told = load_policy(path), list[Progress]()
    assert policy.probes() == ("canaries", "membership", "extraction")
    found = world.measure(policy, cache="probes", progress=told.append)
    runs = {run.probe: run for run in found.probed}
    run = runs["extraction"]
    assert (run.probe, run.items, run.cached) == ("extraction", 8, False)
    assert run.tokens > 0 and run.seconds > 0
    assert {now.stage for now in told if now.stage.startswith("probe ")} >= {
        "probe extraction of the champion",
        "probe extraction of the candidate",
    }
    assert found.evidence["extraction.run@candidate"].settings
    said = "Unusable: no canaries were inserted before training"
    assert [b.reason for b in runs["canaries"].broken] == [said] * 2
    assert outcomes(policy, found)[-1] is Outcome.ERROR

    again = world.measure(policy, cache="probes").probed[-1]
    assert again.cached and again.tokens == 0
    assert again.measurements == run.measurements


@pytest.mark.slow
def test_a_batch_that_cannot_be_read_breaks_the_probe(world: World) -> None:
    path = world.folder / "probed.yaml"
    path.write_text((world.folder / "policy.yaml").read_text() + PROBED)
    policy, kept = load_policy(path), world.kept
    try:
        world.kept = world.folder / "gone.parquet"
        found = world.measure(policy, cache="probes")
    finally:
        world.kept = kept
    assert outcomes(policy, found)[-1] is Outcome.ERROR
    names = {b.name for b in found.evidence.broken}
    assert names > {"extraction.run@champion", "extraction.run@candidate"}
