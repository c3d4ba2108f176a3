"""Frozen lower layers: the same model as run whole, each row through them once, on every method."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import FalconConfig, FalconForCausalLM

from tests.test_training import ANCHORED, LINEAR, LORA, Killed, Place, kill_after
from tests.tiny import tiny_base, tiny_records
from tidegate.training import train as loop
from tidegate.training.adapter import new_adapter
from tidegate.training.anchors import make_anchors
from tidegate.training.base import BaseError, find_base, load_model
from tidegate.training.frozen import UpperLayers, decoder_layers, reuses_exactly
from tidegate.training.methods import Term
from tidegate.training.packing import Item, logits_at, pack
from tidegate.training.policy_gradient import with_old_policy
from tidegate.training.recipe import (
    Demonstrated,
    Fisher,
    Interpolate,
    Preference,
    Recipe,
    Replay,
    Reptile,
    Rewarded,
    SlotChoice,
    Subspace,
    Timescales,
)
from tidegate.training.rows import Row
from tidegate.training.step import backward
from tidegate.training.trained import Trained

pytestmark = pytest.mark.usefixtures("one_thread")

LAYERS = 4
ROWS = [Row(str(n), tuple(range(3, 3 + n)), n // 2) for n in (8, 15, 30, 41)]
TERMS = (Term("new", "cross_entropy", 1.0, 1.0),)
ANSWERS: dict[str, Any] = {"rows": 6, "max_new_tokens": 12}
UPPER = LORA.model_copy(update={"frozen_layers": 2})


def upper(method: str, **sections: Any) -> Recipe:
    return UPPER.model_copy(update={"method": method, **sections})


METHODS = {
    "lora": UPPER,
    "replay": upper("replay", replay=Replay(share=0.5)),
    "anchored": ANCHORED.model_copy(update={"frozen_layers": 2}),
    "distill": upper("distill", anchors=ANCHORED.anchors),
    "ewc": upper("ewc", fisher=Fisher(weight=10.0, **ANSWERS)),
    "interpolate": upper("interpolate", interpolate=Interpolate(share=0.5, max_error=1.0)),
    "sparse": upper(
        "sparse", targets=("down_proj",), rank=16, slots=SlotChoice(count=8, **ANSWERS)
    ),
    "osf": upper("osf", subspace=Subspace(share=0.5)),
    "reptile": upper("reptile", reptile=Reptile(rate=0.5, last=8, max_error=1.0)),
    "two_timescale": upper("two_timescale", timescales=Timescales(slow=2, every=2, rate=0.1)),
    "dpo": upper("dpo", preference=Preference(share=1.0, beta=0.5)),
    "kto": upper("kto", preference=Preference(share=1.0, beta=0.5)),
    "sdft": upper("sdft", demonstrated=Demonstrated(max_new_tokens=6)),
}


class Deep(Place):
    """A place whose base has four layers, and whose batch has corrections."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.base = find_base(str(tiny_base(folder / "tiny", layers=LAYERS)), folder)
        self.new = tiny_records(
            folder / "new.parquet",
            [(f"What is {i}?", f"It is {i}.") for i in range(10)],
            said=[f"I think {i}" if i % 2 else None for i in range(10)],
        )
        self.replay = tiny_records(
            folder / "replay.parquet", [(f"Was it {i}?", "Yes.") for i in range(3)], first=100
        )
        self.anchors = make_anchors(ANCHORED, self.base, None, None, cache=folder)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Deep:
    return Deep(tmp_path_factory.mktemp("deep"))


def adapted(place: Deep, frozen: int) -> Any:
    """The base with an adapter on its upper layers that does something."""
    model, _ = load_model(place.base)
    made = new_adapter(model, LORA.model_copy(update={"frozen_layers": frozen}))
    with torch.no_grad():
        for name, weight in made.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1, generator=torch.Generator().manual_seed(len(name)))
    return made


def packs(rows: Sequence[Row] = ROWS, most: int = 64) -> list[Any]:
    return pack([Item("new", row) for row in rows], most)


def gradient(model: Any, asked: Any) -> torch.Tensor:
    model.zero_grad()
    backward(asked, TERMS, packs())
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def weights(trained: Trained) -> dict[str, torch.Tensor]:
    return load_file(trained.adapter / "adapter_model.safetensors")


@pytest.mark.parametrize("frozen", [1, 2, 3])
def test_logits_and_gradients_are_those_of_the_whole_model(frozen: int, place: Deep) -> None:
    model = adapted(place, frozen)
    layers = list(decoder_layers(model))
    halves = UpperLayers(model, frozen)
    with torch.no_grad():
        for one in (*packs(), *packs(most=0)):
            assert torch.allclose(logits_at(model, one), logits_at(halves, one), atol=1e-4)
    assert list(decoder_layers(model)) == layers, "no stand-in is left behind"
    assert reuses_exactly(halves, ROWS, 64)
    whole, upper_only = gradient(model, model), gradient(model, halves)
    assert bool(whole.any())
    assert torch.allclose(whole, upper_only, rtol=1e-3, atol=1e-5)


def test_rewards_are_learned_from_as_by_the_whole_model(place: Deep) -> None:
    model = adapted(place, 2)
    old = with_old_policy(model, ROWS, 0.7)
    rows = [replace(row, advantage=(-1.0) ** n) for n, row in enumerate(old)]
    given = pack([Item("rollouts", row) for row in rows], 64)
    terms = (Term("rollouts", "grpo", 1.0, 1.0),)
    found = []
    for asked in (model, UpperLayers(model, 2)):
        model.zero_grad()
        backward(asked, terms, given, rewarded=Rewarded(temperature=0.7))
        grads = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
        found.append(torch.cat(grads))
    assert bool(found[0].any())
    assert torch.allclose(*found, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("room", [1 << 20, 0, 32 * 4 * 20])
def test_what_is_kept_is_a_matter_of_speed_alone(room: int, place: Deep) -> None:
    model = adapted(place, 2)
    runs: list[int] = []
    decoder_layers(model)[0].register_forward_hook(lambda *_: runs.append(1))
    halves = UpperLayers(model, 2, room)
    first, again = ([logits_at(halves, one) for one in packs()] for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    kept = {1 << 20: 4, 0: 0, 32 * 4 * 20: 1}[room]  # the last has room for 20 tokens
    assert len(halves.states) == kept
    assert len(runs) == 4 + (4 - kept)


def test_a_base_whose_layers_answer_in_another_way_is_found_out(place: Deep) -> None:
    config = FalconConfig(
        vocab_size=259, hidden_size=32, num_hidden_layers=3, num_attention_heads=4
    )
    torch.manual_seed(0)
    falcon: Any = FalconForCausalLM(config).eval()  # its blocks return tuples
    assert not reuses_exactly(UpperLayers(falcon, 1), ROWS[:2], 0)
    assert not any(type(one).__name__ == "StandIn" for one in falcon.modules())


def test_states_of_other_weights_are_found_out(place: Deep) -> None:
    model = adapted(place, 2)
    halves = UpperLayers(model, 2)
    assert reuses_exactly(halves, ROWS, 64)
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(1.5)
    assert not reuses_exactly(halves, ROWS, 64)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_trains_the_upper_layers_as_the_whole_model_would(
    name: str, place: Deep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = METHODS[name]
    one, two = (place.train(recipe, tmp_path / work) for work in ("one", "two"))
    assert one.digest == two.digest
    assert one.after["frozen.reused"] == 1.0
    assert {int(key.split(".layers.")[1].split(".")[0]) for key in weights(one)} == {2, 3}
    monkeypatch.setattr(loop, "reuses_exactly", lambda *_: False)
    whole = place.train(recipe, tmp_path / "whole")
    assert whole.after["frozen.reused"] == 0.0
    assert [s.tokens for s in whole.history] == [s.tokens for s in one.history]
    for step, other in zip(one.history, whole.history, strict=True):
        assert step.losses == pytest.approx(other.losses, abs=2e-3)


@pytest.mark.parametrize("step", [1, 3])
def test_a_killed_run_ends_with_the_same_adapter(
    step: int, place: Deep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY", 2)
    recipe = METHODS["anchored"]
    whole = place.train(recipe, tmp_path / "whole")
    with pytest.raises(Killed):
        place.train(recipe, tmp_path / "killed", progress=kill_after(step))
    resumed = place.train(recipe, tmp_path / "killed")
    assert (resumed.digest, resumed.after) == (whole.digest, whole.after)


def test_a_line_stays_with_its_layers(place: Deep, tmp_path: Path) -> None:
    parent = place.train(UPPER, tmp_path / "parent")
    child = place.train(UPPER, tmp_path / "child", parent=parent.adapter)
    assert child.history[0].losses["new"] < parent.history[0].losses["new"]
    full = place.train(LORA, tmp_path / "full")
    for recipe, of, said in (
        (LORA, parent, "is on layers 2 to 3 of the base, .* frozen_layers 0 leaves all layers"),
        (UPPER, full, "is on all layers .* frozen_layers 2 leaves layers 2 to 3"),
        (
            UPPER.model_copy(update={"frozen_layers": 3}),
            parent,
            "layers 2 to 3 .* frozen_layers 3 leaves layers 3 to 3",
        ),
    ):
        with pytest.raises(BaseError, match=f"{said}; a continued adapter keeps its shape"):
            place.train(recipe, tmp_path / "refused", parent=of.adapter)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"frozen_layers": LAYERS}, "has 4 layers, .* can be at most 3"),
        ({"targets": (*LINEAR, "lm_head")}, "no linear layer named 'lm_head'"),
    ],
)
def test_what_leaves_nothing_to_adapt_is_refused(
    changed: dict[str, Any], said: str, place: Deep, tmp_path: Path
) -> None:
    with pytest.raises(BaseError, match=said):
        place.train(UPPER.model_copy(update=changed), tmp_path)
