"""Sequences of updates on a real tiny model: every arm, killed and resumed, and the script."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.tiny import tiny_base
from tidegate.evals.sequence.fiction import fiction
from tidegate.flows.home import Home
from tidegate.flows.sequencing.arms import Arm, arm_names, find_arms
from tidegate.flows.sequencing.result import ArmResult
from tidegate.flows.sequencing.run import Asked, Series, run_arm
from tidegate.flows.sequencing.summarise import measures
from tidegate.flows.usage import UsageError
from tidegate.gates.types import Progress, ignore_progress
from tidegate.training.base import find_base

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).parents[1]
UPDATES = 2


def tiny_arms(*names: str) -> tuple[Arm, ...]:
    """The shipped recipes at a rate from which a tiny model learns."""
    arms = find_arms(names, epochs=4, learning_rate=0.01, rows_per_step=5)
    small = {"rows": 12, "max_new_tokens": 16}
    made = []
    for arm in arms:
        recipe = arm.recipe
        if recipe is not None:
            changed = {
                section: given.model_copy(update=small)
                for section in ("anchors", "fisher", "slots")
                if (given := getattr(recipe, section)) is not None
            }
            if recipe.interpolate is not None:  # at 32 dimensions a blend loses more
                changed["interpolate"] = recipe.interpolate.model_copy(
                    update={"max_error": 1.0}
                )
            if recipe.subspace is not None:  # 16 directions in its smallest layer
                changed["rank"] = 8
            if recipe.frozen_layers is not None:  # of two layers
                changed["frozen_layers"] = 1
            if recipe.method == "sparse":
                changed["learning_rate"] = 0.05
            recipe = recipe.model_copy(update=changed)
        made.append(replace(arm, recipe=recipe))
    return tuple(made)


def long_base(folder: Path) -> Path:
    """The tiny base, which counts bytes, with room for a lesson before a question."""
    base = tiny_base(folder)
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 2048}))
    tokenizer = json.loads((base / "tokenizer_config.json").read_text())
    (base / "tokenizer_config.json").write_text(
        json.dumps({**tokenizer, "model_max_length": 2048})
    )
    return base


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Series:
    folder = tmp_path_factory.mktemp("series")
    home = Home(folder / "home")
    base = find_base(str(long_base(folder / "tiny")), home.cache)
    asked = Asked(texts=3, refusals=16)
    return Series(base, fiction(UPDATES, 1, seed=0), 0, asked, home)


@pytest.fixture(scope="module")
def results(series: Series) -> dict[str, ArmResult]:
    names = [name for name in arm_names() if "@" not in name]
    return {arm.name: run_arm(arm, series, ignore_progress) for arm in tiny_arms(*names)}


@pytest.mark.slow
def test_every_arm_is_asked_everything_after_every_update(
    results: dict[str, ArmResult],
) -> None:
    assert {"lora", "replay", "anchored", "joint", "in-context"} <= set(results)
    for result in results.values():
        measured = UPDATES if result.kind == "sequential" else 1
        assert len(result.states) == 1 + measured
        assert result.last.updates == UPDATES
        for state in result.states:
            assert [len(answered.items) for answered in state.probes] == [12] * UPDATES
        if result.kind != "context":
            assert result.last.cost is not None and result.last.cost.tokens > 0
            assert result.last.text is not None and min(result.last.text.kl) > 0
            assert len(result.last.refusal) == 16
    assert len({result.origin.model for result in results.values()}) == 1


@pytest.mark.slow
def test_every_trained_arm_learns_and_anchors_keep_to_the_origin(
    results: dict[str, ArmResult],
) -> None:
    found = {name: measures(result, "loglik") for name, result in results.items()}
    for name, result in results.items():
        if result.kind != "context":
            assert found[name]["learned"] > 0.1, name
    assert found["anchored"]["kl"] < found["lora"]["kl"]
    assert "forgetting" not in found["joint"] and "kl" not in found["in-context"]


@pytest.mark.slow
def test_an_arm_that_was_killed_goes_on_and_a_finished_one_is_read(
    series: Series, results: dict[str, ArmResult], tmp_path: Path
) -> None:
    (arm,) = tiny_arms("replay")
    elsewhere = replace(series, home=Home(tmp_path / "home"))

    class Killed(Exception):
        pass

    def kill(seen: Progress) -> None:
        if "update 2 of 2: train" in seen.stage and seen.done == 3:
            raise Killed

    with pytest.raises(Killed):
        run_arm(arm, elsewhere, kill)
    stages: list[str] = []
    again = run_arm(arm, elsewhere, lambda seen: stages.append(seen.stage))
    assert without_costs(again) == without_costs(results["replay"])
    assert not any("update 1 of 2: measure" in stage for stage in stages)
    stages.clear()
    assert run_arm(arm, elsewhere, lambda seen: stages.append(seen.stage)) == again
    assert not stages
    assert not list(elsewhere.home.cache.glob("sequence/*/update-*"))


@pytest.mark.slow
def test_a_damaged_state_is_measured_again(
    series: Series, results: dict[str, ArmResult]
) -> None:
    (arm,) = tiny_arms("joint")
    for path in series.home.cache.glob(f"sequence/*/state-{UPDATES}.json"):
        path.write_text(path.read_text().replace('"updates":2', '"updates":1', 1))
    again = run_arm(arm, series, ignore_progress)
    assert without_costs(again) == without_costs(results["joint"])


@pytest.mark.slow
def test_the_script_writes_what_it_measured(series: Series, tmp_path: Path) -> None:
    command = [
        sys.executable, str(ROOT / "infra/bench_sequence.py"), "--arms", "lora", "in-context",
        "--updates", "2", "--groups", "1", "--seeds", "1", "--epochs", "2", "--texts", "2",
        "--learning-rate", "0.01", "--refusals", "16", "--base", str(series.base.folder),
        "--home", str(series.home.root), "--out", str(tmp_path),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "| lora | 1 |" in done.stdout and "| in-context | 1 |" in done.stdout
    document = json.loads((tmp_path / "results.json").read_text())
    assert {r["arm"] for r in document["results"]} == {"lora", "in-context"}
    assert document["base_digest"] == series.base.digest and document["code"]
    assert document["recipes"]["lora"]["epochs"] == 2
    for name in ("tradeoff", "retention"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_arms_are_found_by_name() -> None:
    names = arm_names()
    assert {"lora", "lora@0.001", "anchored", "joint", "in-context"} <= set(names)
    assert not {"cartridge", "dpo", "grpo", "kto", "sdft", "star"} & set(names)
    assert [arm.name for arm in find_arms(("grpo", "sdft", "star"))] == ["grpo", "sdft", "star"]
    arms = {arm.name: arm for arm in find_arms(names, epochs=7)}
    recipe = arms["lora@0.001"].recipe
    assert recipe is not None and (recipe.learning_rate, recipe.epochs) == (1e-3, 7)
    assert arms["in-context"].recipe is None
    joint = arms["joint"]
    assert joint.kind == "joint" and joint.recipe is not None
    assert joint.recipe.method == "lora"


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ((), "no arm to run"),
        (("lora", "lora"), "named twice"),
        (("lorra",), "no arm 'lorra', did you mean|no arm 'lorra'"),
        (("dpo",), "no arm 'dpo'"),
        (("lora@fast",), "'fast' is no learning rate"),
        (("../recipes/lora",), "no arm"),
    ],
)
def test_what_is_no_arm(names: tuple[str, ...], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        find_arms(names)


def without_costs(result: ArmResult) -> ArmResult:
    """Seconds differ between two runs of the same."""
    states = tuple(state.model_copy(update={"cost": None}) for state in result.states)
    return result.model_copy(update={"states": states})
