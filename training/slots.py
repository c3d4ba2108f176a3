"""Sparse FFN rows: a few neurons learn what the batch says, all others stay as they are.

A neuron of an FFN is a memory slot: `down_proj` adds its column, times its activation. A LoRA
on `down_proj` whose A has one 1 in each row writes into such columns and nowhere else, so the
candidate is an ordinary adapter: it loads, serves, scales and is named as any other.

Slots are ranked like the words of a document: how often a neuron is among the most active ones
on the batch, times the logarithm of how rarely it is on answers to everyday prompts (TF-IDF, as
in Lin et al. 2025, arXiv 2510.15103, for layers that were pretrained as memories; these were
not). An update takes `count` of them in each layer. The adapter's rank is what a model line has
of them in all; the columns of earlier updates are left alone unless the batch uses them too.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor

from tidegate.training.fisher import ADAPTER, adapted
from tidegate.training.packing import Item, concatenate, logits_at
from tidegate.training.rows import Row
from tidegate.training.trained import TrainingError

ACTIVE = 1 / 16  # share of the neurons that counts as active at a token


def claim_slots(model: Any, new: Sequence[Row], others: Sequence[Row], count: int) -> None:
    """Give each layer `count` slots and let nothing else be trained. Raises TrainingError."""
    layers = list(adapted(model))
    with torch.no_grad():
        used = _active(model, layers, new)
        usual = _active(model, layers, others)
    for layer, seen, known in zip(layers, used, usual, strict=True):
        frequency = torch.stack(seen).sum(dim=0)
        rarity = ((len(known) + 1) / (torch.stack(known).gt(0).sum(dim=0) + 1)).log()
        _open(layer, (frequency * rarity).topk(count).indices)


def _active(model: Any, layers: Sequence[LoraLayer], rows: Sequence[Row]) -> list[list[Tensor]]:
    """For each layer and row (n,): at how many learned tokens each neuron was active."""
    found: list[list[Tensor]] = [[] for _ in layers]
    for row in rows:
        one = concatenate([Item("row", row)])
        hooks = [
            layer.register_forward_pre_hook(_counts_into(counts, one.keep))
            for layer, counts in zip(layers, found, strict=True)
        ]
        try:
            logits_at(model, one)
        finally:
            for hook in hooks:
                hook.remove()
    return found


def _counts_into(counts: list[Tensor], at: Tensor) -> Callable[[Any, tuple[Tensor, ...]], None]:
    def before(_: Any, inputs: tuple[Tensor, ...]) -> None:
        activation = inputs[0][0][at.to(inputs[0].device)].float().abs()
        most = activation.topk(max(1, int(ACTIVE * activation.shape[1])), dim=1).indices
        counts.append(most.flatten().bincount(minlength=activation.shape[1]).cpu())

    return before


def _open(layer: LoraLayer, chosen: Tensor) -> None:
    """Point free rows of A at the chosen neurons, and let only their columns of B learn."""
    a, b = layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight
    with torch.no_grad():
        if not bool(b.any()):
            a.zero_()  # a new adapter: what A was drawn to is of no use
        taken = {int(row.argmax()): i for i, row in enumerate(a) if bool(row.any())}
        free = [i for i, row in enumerate(a) if not bool(row.any())]
        fresh = [j for j in chosen.tolist() if j not in taken]
        if len(fresh) > len(free):
            raise TrainingError(
                f"the adapter has {len(free)} of {len(a)} slots left in a layer, and the update "
                f"takes {len(fresh)}; lower slots.count, or begin a model line of a larger rank"
            )
        for i, j in zip(free, fresh, strict=False):
            a[i, j] = 1.0
            taken[j] = i
        learns = torch.zeros(a.shape[0], device=b.device, dtype=b.dtype)
        learns[[taken[j] for j in chosen.tolist()]] = 1.0
    a.requires_grad_(False)
    b.register_hook(lambda gradient: gradient * learns)
