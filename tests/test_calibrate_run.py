"""A/A runs on a tiny real model: what they leave, and that a killed run goes on."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.drops import rows, write
from tests.tiny import tiny_base
from tidegate.evals.suite import TASKS
from tidegate.flows.calibrating.run import Calibrated, calibrate
from tidegate.flows.home import Home
from tidegate.flows.usage import UsageError
from tidegate.gates.policy.calibration import read_calibration
from tidegate.gates.policy.load import load_policy
from tidegate.gates.types import Progress

pytestmark = pytest.mark.slow

POLICY = """\
policy: tiny
version: 1
why: a test
statistics: {false_block_rate: 0.10, noise_floor: {repeats: 2}}
data:
  - {gate: fits_schema, min_rows: 20, why: an empty drop is an outage}
model:
  - gate: not_worse
    suite: facts
    than: {champion: 5.0, anchor: 5.0}
    why: the mechanism, not the margin, is under test
  - {gate: learned, at_least: 0.05, why: left out}
  - {gate: serves, why: left out}
"""
RECIPE = """\
recipe: tiny
why: a test
base: BASE
method: lora
rank: 4
alpha: 8
targets: [q_proj, v_proj]
learning_rate: 0.02
epochs: 2
rows_per_step: 4
max_tokens: 512
seed: 5
"""
TITLE = "not_worse(facts.margin)"
N = 24


class World:
    def __init__(self, folder: Path) -> None:
        self.home = Home(folder / "home")
        self.suites = folder / "suites"
        self.suites.mkdir()
        shutil.copy(TASKS / "items.py", self.suites)
        lines = (TASKS / "knowledge.jsonl").read_text().splitlines()[:N]
        (self.suites / "facts.jsonl").write_text("\n".join(lines) + "\n")
        task = (TASKS / "knowledge.yaml").read_text().replace("knowledge", "facts")
        (self.suites / "facts.yaml").write_text(task)
        self.policy = folder / "p.yaml"
        self.policy.write_text(POLICY)
        self.recipe = folder / "recipe.yaml"
        self.recipe.write_text(RECIPE.replace("BASE", str(tiny_base(folder / "base"))))
        self.drop = write(folder / "drop.jsonl", rows())
        self.seen: list[Progress] = []

    def calibrate(self, **changes: Any) -> Calibrated:
        given: dict[str, Any] = {
            "recipe_path": self.recipe,
            "home": self.home,
            "floor": self.policy,
            "drops": [self.drop],
            "suites": self.suites,
            "seeds": 3,
            "rows": 12,
            "progress": self.seen.append,
        }
        return calibrate(self.policy, **{**given, **changes})

    @property
    def stages(self) -> list[str]:
        return list(dict.fromkeys(p.stage.split(" (")[0] for p in self.seen))


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def done(world: World) -> Calibrated:
    """A run that was killed while its third twin was trained, and then started again."""

    def killing(progress: Progress) -> None:
        if progress.stage.startswith("twin 3 of 4") and progress.done:
            raise Killed

    with pytest.raises(Killed):
        world.calibrate(progress=killing)
    assert read_calibration(world.policy) is None
    return world.calibrate()


def test_finished_twins_are_not_made_again(world: World, done: Calibrated) -> None:
    assert not any("twin 1 of 4" in stage or "twin 2 of 4" in stage for stage in world.stages)
    assert any("twin 3 of 4" in stage for stage in world.stages)
    assert any("twin 4 of 4" in stage for stage in world.stages)


def test_the_calibration_is_beside_the_policy(world: World, done: Calibrated) -> None:
    found = read_calibration(world.policy)
    assert found == done.calibration
    assert found.digest == load_policy(world.policy).digest
    assert (found.seeds, found.rows, found.repeats) == (3, 12, 2)
    assert found.blocked.n == found.not_passed.n == 3
    assert set(found.gates) == {TITLE}
    assert len(found.left_out) == 2


def test_a_gate_has_an_outcome_for_every_pair_and_spreads(done: Calibrated) -> None:
    gate = done.calibration.gates[TITLE]
    assert gate.passes + gate.fails + gate.inconclusive == 3
    assert gate.n == N
    assert gate.sd_twin > 0
    assert gate.sd_update > 0
    assert gate.noise_floor > 0


def test_measuring_the_same_model_again_makes_no_difference(done: Calibrated) -> None:
    assert done.calibration.repeat_noise == 0.0


def test_weights_and_texts_are_gone_and_the_measurements_stay(
    world: World, done: Calibrated
) -> None:
    folders = [p for p in (world.home.cache / "calibration").iterdir() if p.is_dir()]
    left = sorted(sorted(path.name for path in f.glob("twin-*.json.gz")) for f in folders)
    assert left == [["twin-000.json.gz"], [f"twin-{k:03}.json.gz" for k in range(4)]]
    assert not list(world.home.cache.rglob("*.safetensors"))
    assert not list(world.home.root.rglob("sample.parquet"))


def test_another_margin_uses_the_same_twins(world: World, done: Calibrated) -> None:
    world.seen.clear()
    other = world.policy.with_name("other.yaml")
    other.write_text(POLICY.replace("5.0", "4.0"))
    again = calibrate(
        other,
        recipe_path=world.recipe,
        home=world.home,
        floor=world.policy,
        drops=[world.drop],
        suites=world.suites,
        seeds=3,
        rows=12,
        progress=world.seen.append,
    )
    assert not any("twin" in stage for stage in world.stages)
    assert again.calibration.gates[TITLE].sd_twin == done.calibration.gates[TITLE].sd_twin


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seeds": 0}, "at least one pair"),
        ({"model": "nobody"}, "there is no model line 'nobody'"),
    ],
)
def test_what_cannot_be_calibrated(world: World, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        world.calibrate(**changes)


def test_a_drop_that_the_data_gates_refuse_is_not_learned(world: World, tmp_path: Path) -> None:
    few = write(tmp_path / "few.jsonl", rows(5))
    with pytest.raises(UsageError, match="fits_schema"):
        world.calibrate(drops=[few])
