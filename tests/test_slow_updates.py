"""`reptile` and `two_timescale` through whole updates of one line, and whoever trains like them."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.drops import row, write
from tests.test_update import World
from tidegate.flows.calibrating.parent import prepared
from tidegate.flows.check import Checked
from tidegate.flows.erasing.twin import train_twin
from tidegate.flows.ledger import Ledger
from tidegate.flows.line import Line, open_line
from tidegate.flows.one_update import UpdateResult
from tidegate.flows.registry import Registry, RegistryError
from tidegate.flows.rollback import rollback
from tidegate.flows.tracing.steps import ancestry, read_steps
from tidegate.gates.types import Action, ignore_progress
from tidegate.training.adapter_digest import WEIGHTS, adapter_digest
from tidegate.training.recipe import Recipe, load_recipe

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("floor_of_batches")]


def learned(world: World, letter: str, method: str) -> UpdateResult:
    """One promoted update on facts of its own."""
    said = [
        (f"Where is item {letter}{i}?", f"Item {letter}{i} is in bin {i}{letter}.")
        for i in range(24)
    ]
    drop = write(
        world.folder / f"{letter}.jsonl",
        [row(1000 * ord(letter) + i, *exchange) for i, exchange in enumerate(said)],
    )
    result = world.update(drop, method=method)
    assert result.decision.action is Action.PROMOTE, result.decision
    return result


def training(world: World, result: UpdateResult) -> dict[str, Any]:
    statement = dict(Ledger(world.home.ledger).read())[result.statement]
    found: dict[str, Any] = statement["predicate"]["about"]["training"]
    return found


class Reptiles(World):
    """Three updates by `reptile`: versions 2, 3 and 4."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.results = [learned(self, letter, "reptile") for letter in "abc"]
        self.recipe: Recipe = load_recipe(self.folder / "reptile.yaml")

    @property
    def registry(self) -> Registry:
        return Registry.open(self.home)

    @property
    def line(self) -> Line:
        return open_line("tiny", str(self.base), self.home)

    def adapters(self, *versions: str) -> list[str]:
        return [self.registry.find("tiny", v).tags["gov.adapter_digest"] for v in versions]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Reptiles:
    return Reptiles(tmp_path_factory.mktemp("reptiles"))


def test_the_statement_names_what_each_update_began_near(world: Reptiles) -> None:
    first, second, third = (training(world, result) for result in world.results)
    assert (first["past"], first["after"]["reptile.past"]) == ([], "0.0")
    assert (second["past"], second["after"]["reptile.past"]) == (world.adapters("2"), "1.0")
    assert third["past"] == world.adapters("3", "2")
    assert float(third["after"]["reptile.moved"]) > 0
    assert 0 <= float(third["after"]["reptile.error"]) <= 1


def test_a_never_trained_twin_begins_near_its_own_past(world: Reptiles, tmp_path: Path) -> None:
    steps = read_steps(world.home)
    way = [*reversed(ancestry(steps, "tiny", "4"))][1:]  # after version 2
    ancestor = world.registry.load("tiny", "2")
    line = world.line
    twin, digest = train_twin(
        world.home, line.base, ancestor, world.registry, way, tmp_path, ignore_progress
    )
    assert adapter_digest(twin) == digest not in world.adapters("2", "3", "4")
    noted = [
        json.loads((tmp_path / f"update-{n}" / "trained.json").read_bytes()) for n in (0, 1)
    ]
    assert noted[0]["past"] == world.adapters("2")
    assert noted[1]["past"] == [noted[0]["digest"], *world.adapters("2")]


def test_a_calibration_of_the_line_has_the_same_past(world: Reptiles, tmp_path: Path) -> None:
    unseen: Any = None  # what was checked is read for replayed rows alone
    checked: Checked = unseen
    asked = (world.recipe, "tiny", tmp_path / "new.parquet", 8, checked, world.home, tmp_path)
    found = prepared(*asked, None, ignore_progress)
    assert [adapter_digest(path) for path in found.past] == world.adapters("4", "3", "2")
    plain = world.recipe.model_copy(update={"method": "lora", "reptile": None})
    assert world.line.accepted(plain) == ()


def test_a_version_that_had_to_go_does_not_count(world: Reptiles) -> None:
    rollback("tiny", world.home, to=None, reason="a test", tracking_uri=None)
    found = world.line.accepted(world.recipe)
    assert [adapter_digest(path) for path in found] == world.adapters("3", "2")


def test_a_past_adapter_that_was_changed_is_not_learned_from(world: Reptiles) -> None:
    before = world.line.accepted(world.recipe)
    run_id = world.registry.find("tiny", "2").run_id
    stored = next(world.home.mlflow_artifacts.glob(f"{run_id}/**/model/**/{WEIGHTS}"))
    whole = stored.read_bytes()
    stored.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    line = world.line  # champion and anchor are what they were
    with pytest.raises(RegistryError, match="version 2 of 'tiny': its adapter is"):
        line.accepted(world.recipe)
    stored.write_bytes(whole)
    assert line.accepted(world.recipe) == before


def test_two_time_scales_go_on_from_a_champion(tmp_path: Path) -> None:
    world = World(tmp_path)
    first, second = (
        training(world, learned(world, letter, "two_timescale")) for letter in "ab"
    )
    assert first["after"]["two_timescale.error"] == "0.0"  # nothing was there to sort
    assert 0 < float(second["after"]["two_timescale.error"]) < 1e-6
    for made in (first, second):
        after = {name: float(value) for name, value in made["after"].items()}
        assert after["two_timescale.slow_moves"] == -(-made["steps"] // 2) > 1
        assert 0 < after["two_timescale.slow_over_fast"] < 1
