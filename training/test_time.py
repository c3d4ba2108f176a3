"""A throw-away adapter for one context: learned before the answer, forgotten after it.

    context's tokens → windows → a few AdamW steps of next-token loss → the model, adapted → dropped

A stand-in for TTT-E2E (arXiv 2512.23675), which this is not: there the initial weights are
meta-learned so that such steps help, attention slides over the context, and the MLPs themselves
change. Here a LoRA on the MLPs of the last quarter of the layers begins at nothing, beside
whatever adapter the model has, and an ordinary model is not made to learn in this way. S-TTT
(arXiv 2607.09415) reports that learning from spans that were not chosen can make answers worse.

Nothing is written anywhere, and no gate sees such an adapter: it cannot be promoted.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from tidegate.gates.types import Noun, Progress, Report, ignore_progress
from tidegate.training.base import BaseError
from tidegate.training.losses import cross_entropy
from tidegate.training.train import reproducible
from tidegate.training.trained import TrainingError

LABEL = "stand-in for TTT-E2E (arXiv 2512.23675)"
ADAPTER = "test_time"  # its name inside the model
RANK, ALPHA, CLIP = 8, 16, 1.0
WINDOW = 512  # tokens that one step reads at most
QUARTER = 4  # one in so many of the layers, and of a window what is read and not learned


@dataclass(frozen=True)
class TestTime:
    """How long and how hard is learned: passes over the context, AdamW's rate, the seed."""

    __test__ = False  # for pytest: not a test, whatever its name

    passes: int = 4
    rate: float = 1e-3
    seed: int = 0


class Learned(Noun):
    """What a throw-away adapter learned. Losses in nats a token: means over a pass, before
    each step."""

    steps: int
    tokens: int
    layers: int
    first_pass: float
    last_pass: float


@contextmanager
def adapted(
    model: Any,
    ids: Sequence[int],
    wanted: TestTime,
    progress: Report = ignore_progress,
) -> Iterator[tuple[Any, Learned]]:
    """The model with an adapter that has learned `ids`; after the block it is as it was before.

    model: of load_model, with a champion's LoRA on it or none. ids: the context's tokens, each
    of which but the first is learned once a pass, in their order.

    Raises TrainingError (fewer than two tokens, a loss that is not a number) and BaseError (no
    layers with MLPs are known in this architecture, or the model stands behind a cartridge).
    """
    if len(ids) < 2:
        raise TrainingError(f"a context of {len(ids)} tokens has no next token to learn")
    if isinstance(model, PeftModel) and model.active_peft_config.is_prompt_learning:
        raise BaseError(
            "the version's adapter is a cartridge, beside which no other adapter can be learned; "
            "ask without --ttt"
        )
    names, layers = mlps_of_the_last_quarter(model)
    config = LoraConfig(
        r=RANK, lora_alpha=ALPHA, target_modules=names, bias="none", task_type="CAUSAL_LM"
    )
    before = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    active = list(model.active_adapters) if isinstance(model, PeftModel) else []
    with reproducible(wanted.seed):
        carrier = _with_adapter(model, config, active)
        try:
            first, last, steps = _learn(carrier, ids, wanted, progress)
            learned = Learned(
                steps=steps, tokens=len(ids), layers=layers, first_pass=first, last_pass=last
            )
            yield carrier, learned
        finally:
            _without_adapter(model, carrier, active)
            for parameter, trained in before:
                parameter.requires_grad_(trained)


def mlps_of_the_last_quarter(model: Any) -> tuple[list[str], int]:
    """Full names of the linear layers in the MLPs of the last quarter of a model's layers, and
    how many layers that is (one at least). Raises BaseError where none are found."""
    inner = model.get_base_model() if isinstance(model, PeftModel) else model
    found: dict[int, list[str]] = {}
    for name, module in inner.named_modules():
        parts = name.split(".")
        linear = isinstance(module, nn.Linear | BaseTunerLayer)
        if "mlp" in parts and linear and parts[-1] != "base_layer" and "lora_" not in name:
            layer = next((int(p) for p in parts[: parts.index("mlp")] if p.isdigit()), None)
            if layer is not None:
                found.setdefault(layer, []).append(name)
    if not found:
        raise BaseError(
            f"{type(inner).__name__} has no linear layers below a part named 'mlp', so there is "
            "nothing to adapt at test time; ask without --ttt"
        )
    count = max(1, len(found) // QUARTER)
    return [name for layer in sorted(found)[-count:] for name in found[layer]], count


def windows(length: int, size: int = WINDOW) -> list[tuple[int, int, int]]:
    """Where each step reads, and from which token on it learns: begin, first, end.

    Windows of `size` tokens (two at least) overlap by a quarter, so that what is learned has
    something before it; every token but the very first is learned in exactly one of them.
    """
    found, first = [], 1
    while first < length:
        begin = max(0, first - max(1, size // QUARTER))
        end = min(length, begin + size)
        found.append((begin, first, end))
        first = end
    return found


def _with_adapter(model: Any, config: LoraConfig, active: list[str]) -> Any:
    if not isinstance(model, PeftModel):
        return get_peft_model(model, config, adapter_name=ADAPTER)
    model.add_adapter(ADAPTER, config)
    model.base_model.set_adapter([*active, ADAPTER])
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(f".{ADAPTER}." in name)
    return model


def _without_adapter(model: Any, carrier: Any, active: list[str]) -> None:
    if carrier is model:
        model.base_model.set_adapter(active)
        model.delete_adapter(ADAPTER)
    else:
        carrier.unload()


def _learn(
    model: Any, ids: Sequence[int], wanted: TestTime, progress: Report
) -> tuple[float, float, int]:
    """Mean loss of the first and of the last pass, and the steps that were taken."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=wanted.rate, weight_decay=0.0)
    made_for = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    plan = windows(len(ids), max(2, min(WINDOW, made_for or WINDOW)))
    means: list[float] = []
    steps = 0
    for _ in range(wanted.passes):
        total = 0.0
        for begin, first, end in plan:
            loss = _loss(model, ids[begin:end], first - begin)
            torch.autograd.backward(loss / (end - first))
            norm = float(torch.nn.utils.clip_grad_norm_(parameters, CLIP))
            steps, value = steps + 1, float(loss.detach())
            if not (math.isfinite(value) and math.isfinite(norm)):
                raise TrainingError(
                    f"step {steps} on the context: the loss is {value}, the gradient {norm}; "
                    f"there is no answer. Lower the rate ({wanted.rate:g})"
                )
            optimizer.step()
            optimizer.zero_grad()
            total += value
            progress(Progress("learn the context", steps, wanted.passes * len(plan), "steps"))
        means.append(total / (len(ids) - 1))
    return means[0], means[-1], steps


def _loss(model: Any, ids: Sequence[int], first: int) -> Tensor:
    """Sum of the loss of the tokens from `first` on, each from all before it in the window."""
    read = torch.tensor([list(ids)], device=model.device)
    keep = torch.arange(first - 1, len(ids) - 1, device=model.device)
    logits = model(input_ids=read, logits_to_keep=keep, use_cache=False).logits[0]
    return cross_entropy(logits, read[0, first:])
