"""An adapted layer in one go: the base's product, and the adapter's added into it in place.

    y  = x W^T + s (x A^T) B^T
    dx = g W + (s g B) A        dA = (s g B)^T x        dB = s g^T (x A^T)

peft makes the same numbers, but for rounding, with four more passes over outputs that are as long as
the sequence and as wide as an MLP. Nothing else changes: parameters, names and hooks stay peft's.
"""

from typing import Any

import torch
from peft.tuners.lora import Linear
from torch import Tensor, nn
from torch.nn import functional

from tidegate.training.fisher import ADAPTER, adapted


def fuse(model: Any) -> None:
    """Let a model's adapted layers compute so from now on; for a model that is only trained.

    Left to peft are layers of other kinds or of mixed types, such as a float32 adapter on a
    bfloat16 base.
    """
    for layer in adapted(model):
        base = layer.get_base_layer()
        a, b = layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight
        if type(layer) is Linear and type(base) is nn.Linear and a.dtype == base.weight.dtype:
            layer.forward = _Fused(base, a, b, float(layer.scaling[ADAPTER]))


class _Fused:
    def __init__(self, base: nn.Linear, a: Tensor, b: Tensor, scale: float) -> None:
        self.base, self.a, self.b, self.scale = base, a, b, scale

    def __call__(self, x: Tensor) -> Tensor:
        made = _Product.apply(x, self.base.weight, self.base.bias, self.a, self.b, self.scale)  # type: ignore[no-untyped-call]
        assert isinstance(made, Tensor)
        return made


class _Product(torch.autograd.Function):
    """x (..., n), weight (m, n) and bias (m,) frozen, a (r, n), b (m, r)."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        a: Tensor,
        b: Tensor,
        scale: float,
    ) -> Tensor:
        flat = x.flatten(0, -2)
        inner = flat @ a.T
        y = functional.linear(flat, weight, bias).addmm_(inner, b.T, alpha=scale)
        ctx.save_for_backward(flat, weight, a, b, inner)
        ctx.scale, ctx.shape = scale, x.shape
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        flat, weight, a, b, inner = ctx.saved_tensors
        g = gradients[0].flatten(0, -2)
        of_x, _, _, of_a, of_b, _ = ctx.needs_input_grad
        through = (g @ b) * ctx.scale
        return (
            (g @ weight).addmm_(through, a).view(ctx.shape) if of_x else None,
            None,
            None,
            through.T @ flat if of_a else None,
            (g.T @ inner) * ctx.scale if of_b else None,
            None,
        )
