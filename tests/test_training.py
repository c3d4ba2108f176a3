"""The loop: equal inputs give equal bytes, killed or not, and nothing that broke is saved."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.tiny import tiny_base, tiny_records
from tidegate.gates.types import Progress, ignore_progress
from tidegate.training import train as loop
from tidegate.training.adapter_digest import adapter_digest
from tidegate.training.anchors import make_anchors
from tidegate.training.base import Base, BaseError, find_base, load_model
from tidegate.training.methods import Term
from tidegate.training.packing import Item, pack
from tidegate.training.recipe import Recipe, Replay, load_recipe
from tidegate.training.rows import Row
from tidegate.training.step import backward
from tidegate.training.train import train
from tidegate.training.trained import Trained, TrainingError

pytestmark = pytest.mark.usefixtures("one_thread")

HERE = Path(__file__).parent
LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
ANCHORED = load_recipe(HERE / "recipes" / "good.yaml").model_copy(
    update={"max_tokens": 256, "targets": LINEAR}
)
LORA = ANCHORED.model_copy(update={"method": "lora", "anchors": None})
WITH_REPLAY = ANCHORED.model_copy(
    update={"method": "replay", "anchors": None, "replay": Replay(share=0.5)}
)


class Place:
    """A folder with a base, rows and anchors, made once for all tests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.base: Base = find_base(str(tiny_base(folder / "tiny")), folder)
        self.new = tiny_records(
            folder / "new.parquet", [(f"What is {i}?", f"It is {i}.") for i in range(10)]
        )
        self.replay = tiny_records(
            folder / "replay.parquet", [(f"Was it {i}?", "Yes.") for i in range(3)], first=100
        )
        self.anchors = make_anchors(ANCHORED, self.base, None, None, cache=folder)

    def train(
        self,
        recipe: Recipe,
        work: Path,
        *,
        parent: Path | None = None,
        new: Path | None = None,
        anchors: bool = True,
        progress: Callable[[Progress], None] = ignore_progress,
    ) -> Trained:
        return train(
            recipe,
            self.base,
            parent=parent,
            new=new or self.new,
            replay=self.replay,
            anchors=self.anchors if anchors else None,
            work=work,
            progress=progress,
        )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("place"))


class Killed(Exception):
    pass


def kill_after(step: int) -> Callable[[Progress], None]:
    def progress(seen: Progress) -> None:
        if seen.stage == "train" and seen.done == step:
            raise Killed

    return progress


@pytest.mark.parametrize("recipe", [LORA, WITH_REPLAY, ANCHORED], ids=lambda r: r.method)
def test_equal_inputs_give_equal_bytes(recipe: Recipe, place: Place, tmp_path: Path) -> None:
    one = place.train(recipe, tmp_path / "one")
    two = place.train(recipe, tmp_path / "two")
    assert one.digest == two.digest == adapter_digest(one.adapter)
    assert [s.losses for s in one.history] == [s.losses for s in two.history]
    other = recipe.model_copy(update={"seed": 1})
    assert place.train(other, tmp_path / "other").digest != one.digest


def test_methods_differ_in_what_a_step_is_made_of(place: Place, tmp_path: Path) -> None:
    seen = {
        recipe.method: place.train(recipe, tmp_path / recipe.method).counts.seen
        for recipe in (LORA, WITH_REPLAY, ANCHORED)
    }
    assert seen == {
        "lora": {"new": 20},
        "replay": {"new": 20, "replay": 10},
        "anchored": {"new": 20, "anchors": 10},
    }


def test_rows_are_learned(place: Place, tmp_path: Path) -> None:
    recipe = LORA.model_copy(update={"learning_rate": 0.01, "epochs": 8})
    trained = place.train(recipe, tmp_path / "work")
    assert trained.packed
    assert trained.steps == len(trained.history) == 8 * 3
    assert trained.tokens == sum(step.tokens for step in trained.history)
    assert trained.history[-1].losses["new"] < trained.history[0].losses["new"] - 1
    model, _ = load_model(place.base, trained.adapter)  # peft reads what was written
    assert "LoraModel" in type(model.base_model).__name__


def test_anchors_hold_the_model_back(place: Place, tmp_path: Path) -> None:
    assert ANCHORED.anchors is not None
    drift = {}
    for weight in (1e-6, 10.0):
        anchors = ANCHORED.anchors.model_copy(update={"weight": weight, "share": 1.0})
        recipe = ANCHORED.model_copy(
            update={"anchors": anchors, "learning_rate": 0.01, "epochs": 8}
        )
        drift[weight] = (
            place.train(recipe, tmp_path / str(weight)).history[-1].losses["anchors"]
        )
    assert drift[10.0] < drift[1e-6] / 2


@pytest.mark.parametrize("step", [1, 2, 3, 5])
def test_a_killed_run_ends_with_the_same_adapter(
    step: int, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY", 2)
    whole = place.train(ANCHORED, tmp_path / "whole")
    with pytest.raises(Killed):
        place.train(ANCHORED, tmp_path / "killed", progress=kill_after(step))
    steps: list[int] = []
    resumed = place.train(
        ANCHORED,
        tmp_path / "killed",
        progress=lambda p: steps.append(p.done) if p.stage == "train" else None,
    )
    # The checkpoint of step n is written after its progress is reported.
    assert steps[0] == (step - 1) // 2 * 2 + 1
    assert resumed.digest == whole.digest
    assert [s.losses for s in resumed.history] == [s.losses for s in whole.history]
    assert not list((tmp_path / "killed").glob("checkpoint*"))


def test_a_checkpoint_of_another_run_or_a_broken_one_is_not_used(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY", 2)
    whole = place.train(ANCHORED, tmp_path / "whole")
    for spoil in ("other recipe", "torn file"):
        work = tmp_path / spoil
        first = LORA if spoil == "other recipe" else ANCHORED
        with pytest.raises(Killed):
            place.train(first, work, progress=kill_after(4))
        (checkpoint,) = work.glob("checkpoint-*")
        assert sorted(p.suffix for p in checkpoint.iterdir()) == [
            ".json",
            ".safetensors",
            ".safetensors",
        ]
        if spoil == "torn file":
            (checkpoint / "optimizer.safetensors").write_bytes(b"torn")
        assert place.train(ANCHORED, work).digest == whole.digest


def test_a_finished_run_is_not_run_again(place: Place, tmp_path: Path) -> None:
    first = place.train(LORA, tmp_path)
    stages: list[str] = []
    assert place.train(LORA, tmp_path, progress=lambda p: stages.append(p.stage)) == first
    assert stages == []
    (first.adapter / "adapter_model.safetensors").write_bytes(b"")
    assert place.train(LORA, tmp_path).digest == first.digest  # made again
    half = tmp_path / "adapter.partial-7"
    half.mkdir()
    for cut in (b"", b"{", b"[]", b"{}"):  # by a crash of the machine
        (tmp_path / "trained.json").write_bytes(cut)
        assert place.train(LORA, tmp_path).digest == first.digest
    assert not half.exists()


def test_a_candidate_continues_from_its_parent(place: Place, tmp_path: Path) -> None:
    parent = place.train(LORA, tmp_path / "parent")
    child = place.train(LORA, tmp_path / "child", parent=parent.adapter)
    assert child.digest != parent.digest
    assert child.history[0].losses["new"] < parent.history[0].losses["new"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"rank": 8}, "of rank 4 .* keeps its shape"),
        ({"targets": ("q_proj",)}, "keeps its shape"),
    ],
)
def test_a_parent_of_another_shape_is_refused(
    changed: dict[str, object], said: str, place: Place, tmp_path: Path
) -> None:
    parent = place.train(LORA, tmp_path / "parent")
    with pytest.raises(BaseError, match=said):
        place.train(LORA.model_copy(update=changed), tmp_path / "c", parent=parent.adapter)


def test_the_adapter_does_not_say_where_it_was_made(place: Place, tmp_path: Path) -> None:
    trained = place.train(LORA, tmp_path / "work")
    assert sorted(p.name for p in trained.adapter.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    text = (trained.adapter / "adapter_config.json").read_text()
    assert str(place.folder) not in text and str(tmp_path) not in text
    moved = shutil.copytree(trained.adapter, tmp_path / "moved")
    config = json.loads(text) | {"base_model_name_or_path": "/elsewhere"}
    (moved / "adapter_config.json").write_text(json.dumps(config, indent=1))
    assert adapter_digest(moved) == trained.digest
    config["lora_alpha"] = 999
    (moved / "adapter_config.json").write_text(json.dumps(config))
    assert adapter_digest(moved) != trained.digest


def test_a_loss_that_is_no_number_stops_training(place: Place, tmp_path: Path) -> None:
    parent = place.train(LORA, tmp_path / "parent").adapter
    weights = load_file(parent / "adapter_model.safetensors")
    broken = {name: torch.full_like(value, torch.nan) for name, value in weights.items()}
    save_file(broken, parent / "adapter_model.safetensors", metadata={"format": "pt"})
    with pytest.raises(TrainingError, match="step 1: the new is nan"):
        place.train(LORA, tmp_path / "child", parent=parent)
    assert not (tmp_path / "child" / "adapter").exists()


def test_a_batch_with_nothing_to_learn_is_refused(place: Place, tmp_path: Path) -> None:
    rejected = tiny_records(tmp_path / "r.parquet", [("?", "bad"), ("?", "")], learn="negative")
    with pytest.raises(TrainingError, match=r"no row can be learned from \(2 negative\)"):
        place.train(LORA, tmp_path / "work", new=rejected)


def test_an_anchored_recipe_without_anchors_is_refused(place: Place, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="call make_anchors first"):
        place.train(ANCHORED, tmp_path, anchors=False)


def test_targets_that_the_base_lacks_are_named(place: Place, tmp_path: Path) -> None:
    recipe = LORA.model_copy(update={"targets": ("q_proj", "c_attn")})
    with pytest.raises(BaseError, match="no linear layer named 'c_attn'"):
        place.train(recipe, tmp_path)


def test_a_steps_gradient_does_not_depend_on_the_packing(place: Place) -> None:
    terms = (Term("new", "cross_entropy", 1.0, 1.0),)
    rows = [Row(str(n), tuple(range(3, 3 + n)), n // 2) for n in (8, 15, 30, 41)]
    gradients = []
    for limit in (0, 64, 512):
        model, _ = load_model(place.base)
        backward(model, terms, pack([Item("new", row) for row in rows], limit))
        gradients.append(model.get_input_embeddings().weight.grad.clone())
    assert torch.allclose(gradients[0], gradients[1], atol=1e-6)
    assert torch.allclose(gradients[0], gradients[2], atol=1e-6)


@pytest.mark.parametrize(
    ("step", "share"), [(0, 1 / 3), (1, 2 / 3), (2, 1.0), (10, 0.55), (18, 0.1)]
)
def test_the_learning_rate_goes_up_then_down(step: int, share: float) -> None:
    recipe = LORA.model_copy(
        update={"schedule": LORA.schedule.model_copy(update={"warmup": 0.1, "floor": 0.1})}
    )
    assert loop.learning_rate(recipe, step, 19) == pytest.approx(share * recipe.learning_rate)


def test_one_step_is_taken_at_the_full_rate() -> None:
    assert loop.learning_rate(LORA, 0, 1) == LORA.learning_rate
