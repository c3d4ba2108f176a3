"""Every method through the one loop: it learns, and keeps what it promises to keep.

What is kept is measured against plain LoRA on the same rows, at the same rate and steps.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.tiny import tiny_base, tiny_records
from tidegate.gates.types import Progress, ignore_progress
from tidegate.training import train as loop
from tidegate.training.anchors import make_anchors, read_anchors
from tidegate.training.base import find_base, load_model
from tidegate.training.losses import TopK, cross_entropy, kl_to_teacher, top_k
from tidegate.training.packing import Item, concatenate, logits_at
from tidegate.training.recipe import (
    Anchors,
    Fisher,
    Interpolate,
    Preference,
    Recipe,
    SlotChoice,
    Subspace,
    load_recipe,
)
from tidegate.training.rows import read_rows
from tidegate.training.train import train
from tidegate.training.trained import Trained, TrainingError

pytestmark = pytest.mark.usefixtures("one_thread")

LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
LORA = load_recipe(Path(__file__).parent / "recipes" / "good.yaml").model_copy(
    update={
        "method": "lora",
        "anchors": None,
        "max_tokens": 256,
        "targets": LINEAR,
        "learning_rate": 0.01,
        "epochs": 6,
    }
)
ANSWERS: dict[str, Any] = {"rows": 12, "max_new_tokens": 16}


def recipe(method: str, **sections: Any) -> Recipe:
    return LORA.model_copy(update={"method": method, **sections})


SPARSE = recipe(
    "sparse",
    targets=("down_proj",),
    rank=16,
    alpha=16,
    learning_rate=0.05,
    slots=SlotChoice(count=8, **ANSWERS),
)
METHODS = {
    "lora": LORA,
    "distill": recipe("distill", anchors=Anchors(share=1.0, weight=4.0, **ANSWERS)),
    "ewc": recipe("ewc", fisher=Fisher(weight=10.0, **ANSWERS)),
    "ewc factored": recipe("ewc", fisher=Fisher(weight=10.0, form="factored", **ANSWERS)),
    "interpolate": recipe("interpolate", interpolate=Interpolate(share=0.5, max_error=0.2)),
    "sparse": SPARSE,
    "osf": recipe("osf", subspace=Subspace(share=0.5)),
    "dpo": recipe("dpo", preference=Preference(share=1.0, beta=0.5)),
    "kto": recipe("kto", preference=Preference(share=1.0, beta=0.5)),
}
KEEPS = ("distill", "ewc", "ewc factored", "interpolate", "sparse")


class World:
    """A tiny base, a parent adapter of an earlier batch, and a batch with corrections."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.base = find_base(str(tiny_base(folder / "tiny")), folder)
        self.first = tiny_records(
            folder / "first.parquet", [(f"Was it {i}?", f"No, {i}.") for i in range(8)]
        )
        self.new = tiny_records(
            folder / "new.parquet",
            [(f"What is {i}?", f"It is {i}.") for i in range(10)],
            first=50,
            said=[f"I think {i}" if i % 2 else None for i in range(10)],
        )
        self.done: dict[str, Trained] = {}

    def train(
        self, how: Recipe, name: str, parent: Path | None = None, *, new: Path | None = None
    ) -> Trained:
        if name not in self.done:
            anchors = None
            if how.answers:
                digest = None if parent is None else f"sha256:{'1' * 64}"
                anchors = make_anchors(how, self.base, parent, digest, cache=self.folder)
            self.done[name] = train(
                how,
                self.base,
                parent=parent,
                new=new or self.new,
                replay=None,
                anchors=anchors,
                work=self.folder / name,
            )
        return self.done[name]

    def parent(self, how: Recipe) -> Trained:
        """An adapter of the same shape that has learned the first batch."""
        plain = how.model_copy(
            update={"method": "lora", "fisher": None, "anchors": None, "interpolate": None}
        )
        name = f"parent {plain.rank}"
        return self.train(plain.model_copy(update={"preference": None}), name, new=self.first)

    def loss(self, adapter: Path | None, rows: Path) -> float:
        """Nats a token on the rows' answers."""
        model, tokenizer = load_model(self.base, adapter)
        found = read_rows(rows, tokenizer, 256).rows
        one = concatenate([Item("new", row) for row in found])
        with torch.no_grad():
            total = cross_entropy(logits_at(model, one), one.targets)
        return float(total) / len(one.targets)

    def drift(self, adapter: Path, parent: Path | None) -> float:
        """KL(parent || adapter) in nats a token, on answers that no method here trained on."""
        how = recipe(
            "distill", seed=9, anchors=Anchors(share=1.0, rows=12, max_new_tokens=16, top_k=200)
        )
        digest = None if parent is None else f"sha256:{'2' * 64}"
        folder = make_anchors(how, self.base, parent, digest, cache=self.folder)
        rows = read_anchors(folder).rows
        before, after = load_model(self.base, parent)[0], load_model(self.base, adapter)[0]
        one = concatenate([Item("held out", row) for row in rows])
        with torch.no_grad():
            teacher: TopK = top_k(logits_at(before, one), 200)
            return float(kl_to_teacher(logits_at(after, one), teacher)) / len(one.targets)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("methods"))


@pytest.mark.parametrize("name", METHODS)
def test_a_method_learns_the_batch(name: str, world: World) -> None:
    found = world.train(METHODS[name], name)
    assert world.loss(found.adapter, world.new) < world.loss(None, world.new) - 0.5


@pytest.mark.parametrize("name", KEEPS)
def test_a_method_that_holds_back_drifts_less_than_plain_lora(name: str, world: World) -> None:
    plain = world.drift(world.train(LORA, "lora").adapter, None)
    assert world.drift(world.train(METHODS[name], name).adapter, None) < 0.8 * plain


@pytest.mark.parametrize("name", ["distill", "ewc", "ewc factored", "interpolate"])
def test_what_is_held_is_the_parent_not_the_origin(name: str, world: World) -> None:
    how = METHODS[name]
    parent = world.parent(how).adapter
    plain = world.train(LORA, "lora on a parent", parent).adapter
    kept = world.train(how, f"{name} on a parent", parent).adapter
    assert world.drift(kept, parent) < 0.8 * world.drift(plain, parent)
    assert world.loss(kept, world.first) < world.loss(plain, world.first)


@pytest.mark.parametrize("name", METHODS)
def test_equal_inputs_give_equal_bytes(name: str, world: World) -> None:
    assert world.train(METHODS[name], name).digest == (
        world.train(METHODS[name], f"{name} again").digest
    )


def test_interpolation_records_what_its_rank_lost(world: World) -> None:
    alone = world.train(METHODS["interpolate"], "interpolate").after
    assert alone == {"interpolate.share": 0.5, "interpolate.error": 0.0}
    parent = world.parent(METHODS["interpolate"]).adapter
    after = world.train(METHODS["interpolate"], "interpolate on a parent", parent).after
    assert 0 < after["interpolate.error"] < 0.2


def test_an_interpolation_that_loses_too_much_is_refused(world: World) -> None:
    strict = recipe("interpolate", interpolate=Interpolate(share=0.5, max_error=1e-9))
    parent = world.parent(strict).adapter
    with pytest.raises(TrainingError, match="begin a model line of a larger rank"):
        world.train(strict, "too strict", parent)


def test_sparse_changes_its_slots_and_no_other_column(world: World) -> None:
    weights = load_file(world.train(SPARSE, "sparse").adapter / "adapter_model.safetensors")
    for name, a in weights.items():
        if "lora_A" in name:
            b = weights[name.replace("lora_A", "lora_B")]
            assert sorted(a.sum(dim=1).tolist()) == [0.0] * 8 + [1.0] * 8
            changed = (b @ a).abs().sum(dim=0).count_nonzero()
            assert changed == 8


def test_slots_of_an_earlier_update_stay_and_can_run_out(world: World) -> None:
    first = world.train(SPARSE, "sparse")
    second = world.train(SPARSE, "sparse second", first.adapter, new=world.first)
    before, after = (
        load_file(t.adapter / "adapter_model.safetensors") for t in (first, second)
    )
    for name, a in before.items():
        if "lora_A" in name:
            used = a.any(dim=1)
            assert torch.equal(after[name][used], a[used])
    many = SPARSE.model_copy(update={"slots": SlotChoice(count=16, **ANSWERS)})
    with pytest.raises(TrainingError, match="slots left in a layer"):
        world.train(many, "sparse third", second.adapter)


def touched(world: World, parent: Path | None, trained: Path) -> tuple[float, float]:
    """Of the update's norm, over all layers: inside the protected block, and on its sides."""
    from_parent, to = (
        {} if folder is None else load_file(folder / "adapter_model.safetensors")
        for folder in (parent, trained)
    )
    model, _ = load_model(world.base)
    scale = LORA.alpha / LORA.rank
    inside = sides = 0.0
    for name in (n for n in to if "lora_A" in n):
        other = name.replace("lora_A", "lora_B")
        layer = name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
        weight = model.get_parameter(f"{layer}.weight").detach().double()
        before = torch.zeros_like(weight)
        if from_parent:
            before = scale * (from_parent[other].double() @ from_parent[name].double())
        moved = scale * (to[other].double() @ to[name].double()) - before
        u, _, vh = torch.linalg.svd(weight + before, full_matrices=False)
        k = min(weight.shape) // 2
        left, right = u[:, :k].T @ moved, moved @ vh[:k].T
        inside = max(inside, float((u[:, :k].T @ right).norm() / moved.norm()))
        sides = max(
            sides, float(left.norm() / moved.norm()), float(right.norm() / moved.norm())
        )
    return inside, sides


def test_osf_leaves_the_largest_directions_of_the_base_alone(world: World) -> None:
    found = world.train(METHODS["osf"], "osf")
    assert max(touched(world, None, found.adapter)) < 1e-4
    assert found.after["osf.leak"] < 1e-4
    assert touched(world, None, world.train(LORA, "lora").adapter)[0] > 0.05


def test_osf_on_a_parent_leaves_what_the_merged_weights_do_most(world: World) -> None:
    parent = world.parent(LORA).adapter
    found = world.train(METHODS["osf"], "osf on a parent", parent)
    assert touched(world, parent, found.adapter)[0] < 1e-4
    plain = world.train(LORA, "lora on a parent", parent).adapter
    assert touched(world, parent, plain)[0] > 0.05


def test_osf_that_leaves_no_room_for_the_rank_is_refused(world: World) -> None:
    with pytest.raises(TrainingError, match=r"Lower subspace\.share or the rank"):
        world.train(recipe("osf", subspace=Subspace(share=0.95)), "no room")


def test_a_batch_without_corrections_or_thumbs_has_no_pairs(world: World) -> None:
    for method in ("dpo", "kto"):
        found = world.train(METHODS[method], f"{method} plain", new=world.first)
        source = {"dpo": "pairs", "kto": "ratings"}[method]
        assert found.counts.rows == {"new": 8, source: 0}
        assert set(found.history[0].losses) == {"new"}


@pytest.mark.parametrize("name", ["distill", "ewc", "sparse", "osf", "dpo", "interpolate"])
def test_a_killed_run_asks_the_parent_again_and_ends_with_the_same_adapter(
    name: str, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY", 4)
    how = METHODS[name]
    whole = world.train(how, name)
    anchors = None
    if how.answers:
        anchors = make_anchors(how, world.base, None, None, cache=world.folder)

    class Killed(Exception):
        pass

    def kill(seen: Progress) -> None:
        if seen.stage == "train" and seen.done == 6:
            raise Killed

    def run(progress: Callable[[Progress], None]) -> Trained:
        return train(
            how,
            world.base,
            parent=None,
            new=world.new,
            replay=None,
            anchors=anchors,
            work=tmp_path,
            progress=progress,
        )

    with pytest.raises(Killed):
        run(kill)
    assert list(tmp_path.glob("checkpoint-*"))
    assert run(ignore_progress).digest == whole.digest
