"""Gradient checkpointing: the same adapter from less memory, and a base that cannot is refused."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.autograd.graph import saved_tensors_hooks
from transformers import LlamaForCausalLM, OPTConfig, OPTForCausalLM

from tests.test_frozen import LAYERS, METHODS, ROWS, TERMS, Deep, adapted, packs
from tests.test_training import Killed, kill_after
from tidegate.training import train as loop
from tidegate.training.base import BaseError
from tidegate.training.frozen import UpperLayers, decoder_layers
from tidegate.training.fused import fuse
from tidegate.training.gradient_checkpointing import checkpoint_gradients
from tidegate.training.step import backward

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Deep:
    return Deep(tmp_path_factory.mktemp("deep"))


@contextmanager
def kept() -> Iterator[list[int]]:
    """Bytes of what is kept for backward and is no weight."""
    sizes: list[int] = []

    def keep(x: torch.Tensor) -> torch.Tensor:
        if not isinstance(x, torch.nn.Parameter):
            sizes.append(x.nbytes)
        return x

    with saved_tensors_hooks(keep, lambda x: x):
        yield sizes


@pytest.mark.parametrize("most", [0, 64, 512], ids=["alone", "two packs", "one pack"])
@pytest.mark.parametrize("frozen", [0, 2])
@pytest.mark.parametrize("fused", [False, True])
def test_the_gradient_is_the_same_to_the_last_bit(
    most: int, frozen: int, fused: bool, place: Deep
) -> None:
    found, runs = [], []
    for checkpointed in (False, True):
        model = adapted(place, frozen)
        if fused:
            fuse(model)
        if checkpointed:
            checkpoint_gradients(model, ROWS[0])
        count: list[int] = []
        top = decoder_layers(model)[LAYERS - 1]
        top.mlp.register_forward_pre_hook(lambda *_, count=count: count.append(1))
        asked: Any = UpperLayers(model, frozen) if frozen else model
        given = packs(most=most)
        losses = backward(asked, TERMS, given)
        grads = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
        found.append((losses, torch.cat(grads)))
        runs.append(len(count))
    assert found[0][0] == found[1][0]
    assert bool(found[0][1].any()) and torch.equal(found[0][1], found[1][1])
    assert runs == [len(given), 2 * len(given)]


def test_less_is_kept_for_backward(place: Deep) -> None:
    sizes = []
    for checkpointed in (False, True):
        model = adapted(place, 0)
        if checkpointed:
            checkpoint_gradients(model, ROWS[0])
        with kept() as now:
            backward(model, TERMS, packs(most=512))
        sizes.append(sum(now))
    assert sizes[1] < sizes[0] / 3


@pytest.mark.parametrize(
    "name", ["lora", "anchored", "osf", "sparse", "ewc", "kto", "two_timescale"]
)
@pytest.mark.parametrize("frozen", [None, 2])
def test_the_adapter_is_the_same(
    name: str, frozen: int | None, place: Deep, tmp_path: Path
) -> None:
    recipe = METHODS[name].model_copy(update={"frozen_layers": frozen})
    less = recipe.model_copy(update={"gradient_checkpointing": True})
    one, two = place.train(recipe, tmp_path / "one"), place.train(less, tmp_path / "two")
    assert one.inputs != two.inputs, "the recipe says how, and has another digest"
    assert two.digest == one.digest
    assert two.history == one.history
    assert two.packed and two.after == one.after


def test_a_killed_run_ends_with_the_same_adapter(
    place: Deep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY", 2)
    recipe = METHODS["anchored"].model_copy(update={"gradient_checkpointing": True})
    whole = place.train(recipe, tmp_path / "whole")
    with pytest.raises(Killed):
        place.train(recipe, tmp_path / "killed", progress=kill_after(3))
    assert place.train(recipe, tmp_path / "killed").digest == whole.digest


class Without(LlamaForCausalLM):
    supports_gradient_checkpointing = False


def on_adapter(model: Any) -> Any:
    config = LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
    return get_peft_model(model.eval(), config)


def opt(dropout: float) -> Any:
    torch.manual_seed(0)
    config = OPTConfig(
        vocab_size=259, hidden_size=32, ffn_dim=64, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=64, word_embed_proj_dim=32, dropout=dropout,
    )  # fmt: skip
    return on_adapter(OPTForCausalLM(config))


def test_a_base_that_cannot_is_refused(place: Deep) -> None:
    with pytest.raises(
        BaseError, match="Without has no gradient checkpointing in transformers"
    ):
        checkpoint_gradients(on_adapter(Without.from_pretrained(place.base.folder)), ROWS[0])


def test_dropout_that_it_would_switch_on_is_found_out() -> None:
    checkpoint_gradients(opt(0.0), ROWS[0])
    with pytest.raises(BaseError, match="OPTForCausalLM says something else .*dropout"):
        checkpoint_gradients(opt(0.5), ROWS[0])
