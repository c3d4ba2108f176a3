"""The throw-away adapter: what it learns, where, and that the model is as it was afterwards."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from tests.tiny import tiny_base, tiny_tokenizer
from tidegate.training.adapter import save_adapter
from tidegate.training.base import Base, BaseError, find_base, load_model
from tidegate.training.test_time import (
    WINDOW,
    TestTime,
    adapted,
    mlps_of_the_last_quarter,
    windows,
)
from tidegate.training.trained import TrainingError

TEXT = "The depot of Aldermere opens at nine and closes at four. " * 2
IDS = tuple(tiny_tokenizer()(TEXT, add_special_tokens=False)["input_ids"])
WANTED = TestTime(passes=6, rate=0.01, seed=3)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    folder = tmp_path_factory.mktemp("base")
    return find_base(str(tiny_base(folder / "base")), folder)


@pytest.fixture(scope="module")
def champion(base: Base, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA that changes something, on some of the layers that the throw-away one is put on."""
    config = LoraConfig(r=2, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM")
    model: Any = get_peft_model(load_model(base)[0], config)
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            nn.init.normal_(parameter, std=0.2)
    folder = tmp_path_factory.mktemp("champion") / "adapter"
    save_adapter(model, base, folder)
    return folder


@pytest.fixture(params=["bare", "champion"])
def model(request: pytest.FixtureRequest, base: Base, champion: Path) -> Iterator[Any]:
    yield load_model(base, champion if request.param == "champion" else None)[0]


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = model(input_ids=torch.tensor([IDS])).logits
    return found.clone()


def test_it_learns_the_context_and_leaves_nothing(model: Any) -> None:
    before = logits(model)
    needed = [(p, p.requires_grad) for p in model.parameters()]
    with adapted(model, IDS, WANTED) as (carrier, learned):
        during = logits(carrier)
    assert learned.last_pass < 0.95 * learned.first_pass
    assert (learned.steps, learned.tokens, learned.layers) == (6, len(IDS), 1)
    assert not torch.equal(before, during), "the answer would be the same without it"
    assert torch.equal(before, logits(model)), "to the bit"
    assert not [name for name, _ in model.named_parameters() if "test_time" in name]
    assert all(p.requires_grad is wanted for p, wanted in needed)
    assert all(p.grad is None for p, _ in needed)


def test_the_same_seed_is_the_same_answer_and_another_is_not(model: Any) -> None:
    found = []
    for seed in (3, 3, 4):
        with adapted(model, IDS, TestTime(passes=2, rate=0.01, seed=seed)) as (carrier, _):
            found.append(logits(carrier))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_a_champions_adapter_stays_at_work_and_is_not_trained(
    base: Base, champion: Path
) -> None:
    model, _ = load_model(base, champion)
    kept = {n: p.clone() for n, p in model.named_parameters() if ".default." in n}
    still = TestTime(passes=1, rate=1e-9)
    with adapted(model, IDS, still) as (carrier, _):
        assert torch.allclose(logits(carrier), logits(load_model(base, champion)[0]), atol=1e-4)
        trained = [n for n, p in carrier.named_parameters() if p.requires_grad]
        now = dict(carrier.named_parameters())
        assert all(torch.equal(value, now[name]) for name, value in kept.items())
    assert trained and all(".mlp." in n and ".layers.1." in n for n in trained)
    assert all(".test_time." in n for n in trained)


def test_an_error_leaves_the_model_as_it_was(model: Any) -> None:
    before = logits(model)
    diverging = adapted(model, IDS, TestTime(passes=4, rate=float("inf")))
    with pytest.raises(TrainingError, match=r"the loss is nan.*Lower the rate"), diverging:
        pytest.fail("there is nothing to answer with")
    assert torch.equal(before, logits(model))
    with pytest.raises(TrainingError, match="no next token"), adapted(model, IDS[:1], WANTED):
        pytest.fail("one token teaches nothing")


@pytest.mark.parametrize("size", [2, 3, 64, WINDOW])
@pytest.mark.parametrize("length", [2, 65, WINDOW, WINDOW + 1, 3 * WINDOW + 7])
def test_every_token_but_the_first_is_learned_once_a_pass(length: int, size: int) -> None:
    plan = windows(length, size)
    assert [t for _, first, end in plan for t in range(first, end)] == list(range(1, length))
    for begin, first, end in plan:
        assert end - begin <= size
        assert begin == 0 or first - begin == max(1, size // 4)


@pytest.mark.parametrize("on", [False, True], ids=["bare", "champion"])
def test_in_a_deep_model_too_it_is_the_last_quarter_and_nothing_else(on: bool) -> None:
    """From twenty names on, peft shortens what it is told to adapt."""
    small = LlamaConfig(
        vocab_size=300, hidden_size=8, intermediate_size=8, num_hidden_layers=30,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=64,
    )  # fmt: skip
    model: Any = LlamaForCausalLM(small)
    if on:
        champions = LoraConfig(r=2, target_modules=["down_proj"], task_type="CAUSAL_LM")
        model = get_peft_model(model, champions)
    with adapted(model, IDS, TestTime(passes=1)) as (carrier, learned):
        names = {n for n, p in carrier.named_parameters() if p.requires_grad}
    found = {tuple(n.split(".layers.")[1].split(".")[:3]) for n in names}
    assert found == {
        (str(layer), "mlp", part)
        for layer in range(23, 30)
        for part in ("gate_proj", "up_proj", "down_proj")
    }
    assert (len(names), learned.layers, learned.steps) == (
        2 * 21,
        7,
        len(windows(len(IDS), 64)),
    )


class Block(nn.Module):
    def __init__(self, part: str) -> None:
        super().__init__()
        self.add_module(part, nn.Sequential(nn.Linear(2, 2)))
        self.attention = nn.Linear(2, 2)


class Net(nn.Module):
    def __init__(self, count: int, part: str = "mlp") -> None:
        super().__init__()
        self.h = nn.ModuleList(Block(part) for _ in range(count))


def test_the_last_quarter_is_counted_by_number_and_not_by_name() -> None:
    names, count = mlps_of_the_last_quarter(Net(12))
    assert (names, count) == (["h.9.mlp.0", "h.10.mlp.0", "h.11.mlp.0"], 3)
    assert mlps_of_the_last_quarter(Net(1)) == (["h.0.mlp.0"], 1)
    with pytest.raises(BaseError, match="ask without --ttt"):
        mlps_of_the_last_quarter(Net(4, "feed_forward"))
