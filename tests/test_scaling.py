"""Certified scaling: the largest share that passes, and no more luck than one try has."""

import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.tiny import tiny_base, tiny_records
from tests.update_example import digest
from tidegate.flows.measure import SPENT, Measured
from tidegate.flows.scaling import Scaled, measure_scaled
from tidegate.gates.decide import judge
from tidegate.gates.policy.load import load_policy
from tidegate.gates.policy.nouns import Policy
from tidegate.gates.scaling import split, tried
from tidegate.gates.types import Action, Candidate, CandidateEvidence, Measurement, Outcome
from tidegate.training.base import find_base
from tidegate.training.recipe import load_recipe
from tidegate.training.train import train
from tidegate.training.trained import Trained

POLICY = """\
policy: tiny
version: 1
why: a test
statistics: {interval: t}
data:
  - {gate: fits_schema, min_rows: 20, why: an empty drop is an outage}
model:
  - {gate: not_worse, suite: s, than: {champion: 0.1}, why: the mechanism is under test}
"""
ITEMS = tuple(f"i{n}" for n in range(40))
SHARES = (1.0, 0.8, 0.6, 0.4)


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    path = tmp_path_factory.mktemp("policy") / "policy.yaml"
    path.write_text(POLICY)
    return load_policy(path)


def evidence(loss: float, chance: random.Random) -> CandidateEvidence:
    """What was seen of a candidate that truly loses so much, in noise of spread 0.1."""
    made = [
        Measurement(
            name=f"s.margin@{role}",
            value=sum(values) / len(values),
            n=len(values),
            items=ITEMS,
            values=tuple(values),
            settings={"prompts": digest("s")},
        )
        for role, values in (
            ("champion", [0.0] * len(ITEMS)),
            ("candidate", [chance.gauss(-loss, 0.1) for _ in ITEMS]),
        )
    ]
    spent = Measurement(name=SPENT, value=40.0, n=40, planned=40)
    return CandidateEvidence(subject=digest("adapter"), measurements=(*made, spent))


class World:
    """A trained adapter; a candidate loses as much as its weights have moved."""

    def __init__(self, folder: Path) -> None:
        base = find_base(str(tiny_base(folder / "tiny")), folder)
        recipe = load_recipe(Path(__file__).parent / "recipes" / "good.yaml")
        rows = tiny_records(folder / "new.parquet", [("a?", "yes"), ("b?", "no")])
        self.trained = train(
            recipe.model_copy(update={"method": "lora", "anchors": None}),
            base,
            parent=None,
            new=rows,
            replay=None,
            anchors=None,
            work=folder / "train",
        )
        self.candidate = Candidate(base=base.digest, adapter=self.trained.digest)
        self.whole = self.moved(self.trained)
        self.rates: list[float] = []

    @staticmethod
    def moved(trained: Trained) -> float:
        weights = load_file(trained.adapter / "adapter_model.safetensors")
        norms = [w.double().norm() for name, w in weights.items() if "lora_B" in name]
        return float(torch.stack(norms).norm())

    def scaled(self, policy: Policy, work: Path, loss: float) -> Scaled:
        def measure(rules: Policy, candidate: Candidate, trained: Trained) -> Measured:
            self.rates.append(rules.statistics.false_pass_rate)
            assert candidate.adapter == trained.digest
            share = self.moved(trained) / self.whole
            found = evidence(loss * share, random.Random(3))
            return Measured(found, (), "every suite was measured whole")

        return measure_scaled(SHARES, policy, self.candidate, self.trained, None, work, measure)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"))


@pytest.mark.parametrize(
    ("loss", "stands", "count", "outcome"),
    [
        (-0.5, 1.0, 1, Outcome.PASS),
        (0.0, 1.0, 1, Outcome.PASS),
        (0.6, 1.0, 4, Outcome.FAIL),
    ],
)
def test_the_first_that_passes_stands_else_the_largest(
    loss: float,
    stands: float,
    count: int,
    outcome: Outcome,
    policy: Policy,
    world: World,
    tmp_path: Path,
) -> None:
    found = world.scaled(policy, tmp_path, loss)
    assert [one.scale for one in found.tried] == list(SHARES[:count])
    assert len(found.every) == count
    assert found.trained.after["scale"] == stands
    assert found.candidate.adapter == found.trained.digest
    assert found.ruling is not None and found.ruling.verdict.outcome is outcome
    assert set(world.rates) == {0.05 / 4}


def test_a_smaller_share_passes_where_the_whole_does_not(
    policy: Policy, world: World, tmp_path: Path
) -> None:
    found = world.scaled(policy, tmp_path, 0.09)
    rejected = [one for one in found.tried if one.action is not Action.PROMOTE]
    assert rejected == list(found.tried[:-1]) != []
    assert found.tried[-1].action is Action.PROMOTE
    assert found.trained.after["scale"] == found.tried[-1].scale < 1
    assert world.moved(found.trained) == pytest.approx(
        found.tried[-1].scale * world.whole, rel=1e-5
    )
    assert found.ruling is not None and "not_worse" in found.ruling.verdict.reason
    # The ordinary gates agree: what passes at the split rate passes at the whole one.
    assert {r.verdict.outcome for r in judge(policy, found.measured.evidence)} == {Outcome.PASS}


def test_no_scale_is_one_measurement_at_the_whole_rate(
    policy: Policy, world: World, tmp_path: Path
) -> None:
    seen = Measured(evidence(0.0, random.Random(1)), (), "")
    found = measure_scaled(
        None, policy, world.candidate, world.trained, None, tmp_path, lambda *_: seen
    )
    assert (found.tried, found.ruling, found.every) == ((), None, (seen,))
    assert found.trained is world.trained


def test_several_tries_have_no_more_luck_than_one(policy: Policy) -> None:
    """Each share truly loses the whole margin, and each try's noise is new: the worst case."""
    chance = random.Random(11)
    rounds, unsplit, held = 400, 0, 0
    strict = split(policy, len(SHARES))
    for _ in range(rounds):
        tries = [evidence(0.1, chance) for _ in SHARES]
        passed = [
            [all(r.action is Action.PROMOTE for r in judge(rules, one)) for one in tries]
            for rules in (policy, strict)
        ]
        unsplit, held = unsplit + any(passed[0]), held + any(passed[1])
    assert unsplit / rounds > 0.12  # 1 - 0.95**4 is 0.185
    assert held / rounds < 0.08  # at most 0.05, and three standard errors


def test_the_parents_rate_is_split_too(policy: Policy) -> None:
    child = policy.model_copy(update={"parent": policy})
    found = split(child, 2)
    assert found.parent is not None
    assert found.statistics.false_pass_rate == found.parent.statistics.false_pass_rate == 0.025
    assert found.digest == policy.digest


def test_no_ruling_is_no_pass() -> None:
    assert tried(1.0, digest("a"), 0.0, ()).action is Action.HOLD
