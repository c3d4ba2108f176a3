"""Elastic weight consolidation: what it costs to move the weights that other answers rest on.

    penalty = 1/2 * sum_i F_i * (W_i - W*_i)^2,   W = base + s * B A,  W* the parent's

F is the diagonal of the Fisher information of the *merged* weights, per learned token, at the
parent: the mean squared gradient of log p over answers that the parent wrote itself, so over
its own distribution (Kirkpatrick et al. 2017, arXiv 1612.00796). Penalising A and B by
themselves would not penalise what they multiply to. To second order, and were F's off-diagonal
zero, the penalty is KL(parent || model) in nats per token.

F of one layer is made from its inputs and the gradients of its outputs, one answer at a time.
`full` keeps every entry (4 bytes a target weight); `factored` keeps the sums of rows and columns
alone, like Adafactor's second moments (Shazeer and Stern 2018, arXiv 1804.04235), and never
forms a matrix of the weights' size in training.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor

from tidegate.training.losses import cross_entropy
from tidegate.training.methods import Penalty
from tidegate.training.packing import Item, concatenate, logits_at
from tidegate.training.rows import Row

ADAPTER = "default"


class Form(Protocol):
    """The Fisher information of one layer's weight (m, n)."""

    def add(self, squared: Tensor) -> None: ...
    def divide(self, tokens: int) -> None: ...
    def cost(self, b: Tensor, a: Tensor, b0: Tensor, a0: Tensor) -> Tensor: ...


class Full:
    """Every entry."""

    def __init__(self, like: Tensor) -> None:
        self.fisher = torch.zeros_like(like, dtype=torch.float32)

    def add(self, squared: Tensor) -> None:
        self.fisher += squared

    def divide(self, tokens: int) -> None:
        self.fisher /= tokens

    def cost(self, b: Tensor, a: Tensor, b0: Tensor, a0: Tensor) -> Tensor:
        return (self.fisher * (b @ a - b0 @ a0).square()).sum()


class Factored:
    """Sums of rows (m,) and columns (n,): F is taken to be their outer product by the total."""

    def __init__(self, like: Tensor) -> None:
        self.rows = torch.zeros(like.shape[0], device=like.device)
        self.columns = torch.zeros(like.shape[1], device=like.device)

    def add(self, squared: Tensor) -> None:
        self.rows += squared.sum(dim=1)
        self.columns += squared.sum(dim=0)

    def divide(self, tokens: int) -> None:
        total = self.rows.sum()
        if total > 0:  # else no answer went through the layer, and nothing holds it
            self.columns /= total
        self.rows /= tokens

    def cost(self, b: Tensor, a: Tensor, b0: Tensor, a0: Tensor) -> Tensor:
        # BA - B0 A0 as (B - B0) A + B0 (A - A0): exactly zero where nothing moved.
        tall = torch.cat([b - b0, b0], dim=1) * self.rows.sqrt()[:, None]
        wide = torch.cat([a, a - a0], dim=0) * self.columns.sqrt()
        return ((tall.T @ tall) * (wide @ wide.T)).sum()


FORMS: dict[str, Callable[[Tensor], Form]] = {"full": Full, "factored": Factored}


@dataclass(frozen=True)
class Held:
    """One adapted layer: its factors at the parent, and what its weight's entries matter."""

    layer: LoraLayer
    b0: Tensor
    a0: Tensor
    fisher: Form


class Consolidation:
    """The penalty of one run; made before the first step, where the model is the parent."""

    def __init__(self, model: Any, rows: Sequence[Row], penalty: Penalty) -> None:
        self.weight = penalty.weight
        self.held = [
            Held(
                layer,
                layer.lora_B[ADAPTER].weight.detach().clone(),
                layer.lora_A[ADAPTER].weight.detach().clone(),
                FORMS[penalty.form](layer.get_base_layer().weight),
            )
            for layer in adapted(model)
        ]
        hooks = [held.layer.register_forward_hook(_squares_into(held)) for held in self.held]
        tokens = 0
        try:
            for row in rows:
                one = concatenate([Item("row", row)])
                logits = logits_at(model, one)
                loss = cross_entropy(logits, one.targets.to(logits.device))
                torch.autograd.backward(loss)
                tokens += row.answer_tokens
        finally:
            for hook in hooks:
                hook.remove()
        model.zero_grad(set_to_none=True)
        for held in self.held:
            held.fisher.divide(tokens)

    def backward(self) -> float:
        """Add the penalty's gradient, a layer at a time; returns it before its weight."""
        total = 0.0
        for held in self.held:
            b, a = (f[ADAPTER].weight for f in (held.layer.lora_B, held.layer.lora_A))
            scale = float(held.layer.scaling[ADAPTER])
            cost = 0.5 * scale**2 * held.fisher.cost(b, a, held.b0, held.a0)
            torch.autograd.backward(self.weight * cost)
            total += float(cost.detach())
        return total


def adapted(model: Any) -> Iterator[LoraLayer]:
    """The layers that the adapter is on, in the model's order."""
    return (module for module in model.modules() if isinstance(module, LoraLayer))


def _squares_into(held: Held) -> Callable[[Any, tuple[Tensor, ...], Tensor], None]:
    """A hook by which a backward pass adds the squared gradient of the layer's merged weight."""

    def forward(_: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen = inputs[0].detach().flatten(0, -2).float()

        def backward(gradient: Tensor) -> None:
            held.fisher.add((gradient.flatten(0, -2).float().T @ seen).square())

        output.register_hook(backward)  # type: ignore[no-untyped-call, unused-ignore]

    return forward
