"""Two time scales in one adapter: when the slow ranks move, by how much, and what they hold."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.tiny import tiny_base, tiny_records
from tidegate.gates.types import Progress, ignore_progress
from tidegate.training import train as loop
from tidegate.training.adapter import continue_adapter, new_adapter
from tidegate.training.adapter_digest import WEIGHTS
from tidegate.training.base import BaseError, find_base, load_model
from tidegate.training.blend import A, B, modules
from tidegate.training.fisher import ADAPTER, adapted
from tidegate.training.methods import Levels
from tidegate.training.recipe import Recipe, Timescales, load_recipe
from tidegate.training.timescales import Timescales as Running
from tidegate.training.train import train
from tidegate.training.trained import Trained

LORA = load_recipe(Path(__file__).parent / "recipes" / "good.yaml").model_copy(
    update={"method": "lora", "anchors": None, "learning_rate": 0.01, "epochs": 4}
)
SLOW = LORA.model_copy(
    update={"method": "two_timescale", "timescales": Timescales(slow=2, every=3, rate=0.1)}
)


class World:
    """A tiny base and an adapter of an earlier batch."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.base = find_base(str(tiny_base(folder / "tiny")), folder)
        self.first, self.new = (
            tiny_records(
                folder / f"{name}.parquet",
                [(f"{name} {i}?", f"It {name} {i}.") for i in range(10)],
            )
            for name in ("was", "is")
        )
        self.parent = self.train(LORA, folder / "parent", new=self.first, parent=None).adapter

    def train(self, how: Recipe, work: Path, **changes: Any) -> Trained:
        given: dict[str, Any] = {
            "parent": self.parent if hasattr(self, "parent") else None,
            "new": self.new,
            "replay": None,
            "anchors": None,
            "work": work,
        }
        return train(how, self.base, **(given | changes))

    def model(self, how: Recipe = LORA, parent: Path | None = None) -> Any:
        bare, _ = load_model(self.base)
        return continue_adapter(bare, how, parent) if parent else new_adapter(bare, how)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield World(tmp_path_factory.mktemp("levels"))
    torch.set_num_threads(before)


def factors(layer: LoraLayer) -> tuple[Tensor, Tensor]:
    return layer.lora_B[ADAPTER].weight, layer.lora_A[ADAPTER].weight


def does(adapter: Path) -> dict[str, Tensor]:
    weights = load_file(adapter / WEIGHTS)
    return {
        name: weights[f"{name}{B}"].double() @ weights[f"{name}{A}"].double()
        for name in modules(weights)
    }


def steps_of(world: World, part: Levels, steps: int) -> list[tuple[float, ...]]:
    """How far slow and fast ranks of B and A have moved after each step, if every step of the
    optimizer, by itself, moves each weight by 1."""
    model = world.model()
    running = Running(model, part)
    b, a = factors(next(iter(adapted(model))))
    b0, a0 = b.detach().clone(), a.detach().clone()
    optimizer = torch.optim.SGD([b, a], lr=1.0)
    running.layers = running.layers[:1]
    found = []
    for done in range(1, steps + 1):
        b.grad, a.grad = -torch.ones_like(b), -torch.ones_like(a)
        running.step(optimizer, done, steps)
        k = part.slow
        moved = (b - b0)[:, :k], (a - a0)[:k], (b - b0)[:, k:], (a - a0)[k:]
        for one in moved:
            assert torch.allclose(one, one.flatten()[0].expand_as(one), atol=1e-5)
        found.append(tuple(round(float(one.detach().mean()), 4) for one in moved))
    return found


def test_slow_ranks_wait_and_then_move_by_a_share_of_what_added_up(world: World) -> None:
    assert steps_of(world, Levels(slow=1, every=3, rate=0.1), 7) == [
        (0.0, 0.0, 1.0, 1.0),
        (0.0, 0.0, 2.0, 2.0),
        (0.3, 0.3, 3.0, 3.0),
        (0.3, 0.3, 4.0, 4.0),
        (0.3, 0.3, 5.0, 5.0),
        (0.6, 0.6, 6.0, 6.0),
        (0.7, 0.7, 7.0, 7.0),  # what waits after the last step is not lost
    ]


def test_one_time_scale_is_what_the_optimizer_does(world: World) -> None:
    moved = steps_of(world, Levels(slow=2, every=1, rate=1.0), 3)
    assert moved == [(n, n, n, n) for n in (1.0, 2.0, 3.0)]


def test_a_parent_is_sorted_and_does_what_it_did(world: World) -> None:
    model = world.model(parent=world.parent)
    before = [(b @ a).detach() for b, a in map(factors, adapted(model))]
    running = Running(model, Levels(slow=2, every=3, rate=0.1))
    assert running.error < 1e-6
    for layer, was in zip(adapted(model), before, strict=True):
        b, a = (factor.detach() for factor in factors(layer))
        assert torch.allclose(b @ a, was, atol=1e-6)
        values = torch.linalg.svdvals(was)[: LORA.rank]
        assert torch.allclose(torch.linalg.svdvals(b[:, :2] @ a[:2])[:2], values[:2], atol=1e-5)
        assert torch.allclose(torch.linalg.svdvals(b[:, 2:] @ a[2:])[:2], values[2:], atol=1e-5)
    # Found sorted, it stays: the levels of the next update are those that this one ended with.
    again = Running(model, Levels(slow=2, every=3, rate=0.1))
    assert again.error < 1e-6


def test_ranks_that_the_parent_never_used_can_be_learned(world: World, tmp_path: Path) -> None:
    weights = load_file(world.parent / WEIGHTS)
    for name, value in weights.items():
        if "lora_B" in name:
            value[:, 1:] = 0  # of rank one
    thin = tmp_path / "thin"
    thin.mkdir()
    save_file(weights, thin / WEIGHTS, metadata={"format": "pt"})
    config = (world.parent / "adapter_config.json").read_bytes()
    (thin / "adapter_config.json").write_bytes(config)
    model = world.model(parent=thin)
    Running(model, Levels(slow=2, every=3, rate=0.1))
    for layer in adapted(model):
        b, a = factors(layer)
        assert float(b[:, 1:].detach().norm()) < 1e-6  # they still do nothing ..
        assert float(a.detach().norm(dim=1).min()) > 0.1  # .. and get a gradient
    made = world.train(SLOW, tmp_path / "train", parent=thin)
    assert made.after["two_timescale.error"] < 1e-6


def test_slow_ranks_change_less_and_the_record_says_how_much(
    world: World, tmp_path: Path
) -> None:
    made = world.train(SLOW, tmp_path / "slow")
    assert made.steps == 12
    assert made.after["two_timescale.slow_moves"] == 4.0
    assert made.after["two_timescale.error"] < 1e-6
    assert 0 < made.after["two_timescale.slow_over_fast"] < 0.5
    assert made.history[-1].losses["new"] < made.history[0].losses["new"] - 0.3
    plain = world.train(LORA, tmp_path / "plain")
    top, plainly = 0.0, 0.0
    for name, was in does(world.parent).items():
        u, _, vh = torch.linalg.svd(was)
        for adapter in (made.adapter, plain.adapter):
            moved = float((u[:, :2].T @ (does(adapter)[name] - was) @ vh[:2].T).norm())
            if adapter is made.adapter:
                top += moved
            else:
                plainly += moved
    assert top < 0.7 * plainly  # what the parent does most, the slow ranks hold


def test_steps_that_are_no_multiple_still_end_with_a_slow_move(
    world: World, tmp_path: Path
) -> None:
    seldom = Timescales(slow=2, every=5, rate=0.1)
    made = world.train(SLOW.model_copy(update={"timescales": seldom}), tmp_path)
    assert made.steps == 12
    assert made.after["two_timescale.slow_moves"] == 3.0


def test_equal_inputs_give_equal_bytes_and_a_first_update_needs_no_parent(
    world: World, tmp_path: Path
) -> None:
    one, two = (world.train(SLOW, tmp_path / name, parent=None) for name in ("one", "two"))
    assert one.digest == two.digest
    assert one.after["two_timescale.error"] == 0.0
    assert one.digest != world.train(LORA, tmp_path / "lora", parent=None).digest


def test_what_waits_outlives_a_kill(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY", 4)  # one step after a slow move, of three
    whole = world.train(SLOW, tmp_path / "whole")

    class Killed(Exception):
        pass

    def kill(seen: Progress) -> None:
        if seen.stage == "train" and seen.done == 6:
            raise Killed

    work = tmp_path / "killed"
    with pytest.raises(Killed):
        world.train(SLOW, work, progress=kill)
    (checkpoint,) = work.glob("checkpoint-*")
    kept = load_file(checkpoint / "optimizer.safetensors")
    waiting = [value for name, value in kept.items() if name.endswith("|waiting")]
    assert waiting and all(bool(value.any()) for value in waiting)
    resumed = world.train(SLOW, work, progress=ignore_progress)
    assert (resumed.digest, resumed.after) == (whole.digest, whole.after)


def test_a_parent_that_cannot_be_sorted_is_refused(world: World, tmp_path: Path) -> None:
    wide = LORA.model_copy(update={"rank": 24})  # v_proj of the tiny base has 16 outputs
    parent = world.train(wide, tmp_path / "wide", parent=None).adapter
    with pytest.raises(BaseError, match="begin a model line of a smaller rank"):
        Running(world.model(wide, parent), Levels(slow=2, every=3, rate=0.1))
    model = world.model(parent=world.parent)
    with torch.no_grad():
        factors(next(iter(adapted(model))))[0].fill_(torch.nan)
    with pytest.raises(BaseError, match="not finite"):
        Running(model, Levels(slow=2, every=3, rate=0.1))
