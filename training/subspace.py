"""Protected directions: what the merged weights do most stays, and an update goes around it.

    W = base + s * B A at the parent,   U, V: its first k left and right singular vectors
    after every step   B <- B0 + (1 - U U^T)(B - B0)   and   A <- A0 + (A - A0)(1 - V V^T)

So U^T (W' - W) V = 0: whatever the optimizer did, what the k largest directions of the input give
in the k largest directions of the output is what it was. Where the parent's own factors avoid the
directions too (no parent, or a parent that was trained so and did not outgrow them), even
U^T (W' - W) = 0 and (W' - W) V = 0: the singular triples themselves are untouched.

The idea of OSF (Nayak et al. 2025, arXiv 2504.07097) in the shape of a LoRA. OSF trains all small
directions at full rank and chooses k by each layer's importance; here the update has the adapter's
rank and k is one share of every layer's directions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor

from tidegate.training.fisher import ADAPTER, adapted
from tidegate.training.methods import Part, Protected
from tidegate.training.trained import TrainingError

MAX_LEAK = 1e-3  # of the update's own size; rounding in float32 leaves some 1e-6


@dataclass(frozen=True)
class Kept:
    """One adapted layer (m, n): its k directions, and its factors at the parent."""

    b: Tensor  # (m, r), in training
    a: Tensor  # (r, n), in training
    b0: Tensor
    a0: Tensor
    left: Tensor  # (m, k)
    right: Tensor  # (n, k)


class Subspaces:
    """The protected directions of one run; made before the first step, at the parent."""

    def __init__(self, model: Any, part: Protected) -> None:
        self.kept = [_kept(layer, part.share) for layer in adapted(model)]

    def hold(self) -> None:
        """Take out of the weights, after a step, what went into protected directions."""
        with torch.no_grad():
            for one in self.kept:
                one.b.copy_(one.b0 + _without(one.left, one.b - one.b0))
                one.a.copy_(one.a0 + _without(one.right, (one.a - one.a0).T).T)

    def leak(self) -> float:
        """Norm of the update in protected directions over its norm, of the worst layer.

        Raises TrainingError if that is no rounding error any more.
        """
        worst = 0.0
        for one in self.kept:
            with torch.no_grad():
                b, a, b0, a0 = (f.double() for f in (one.b, one.a, one.b0, one.a0))
                moved = b @ a - b0 @ a0
                size = float(moved.norm())
                if size == 0.0:
                    continue
                inside = one.left.double().T @ moved @ one.right.double()
                worst = max(worst, float(inside.norm()) / size)
        if not worst <= MAX_LEAK:
            raise TrainingError(
                f"{worst:.2g} of a layer's update lies in protected directions, and at most "
                f"{MAX_LEAK:g} may by rounding; nothing was saved. Lower the learning rate"
            )
        return worst


def _kept(layer: LoraLayer, share: float) -> Kept:
    a, b = layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight
    weight: Tensor = layer.get_base_layer().weight
    rank, most = a.shape[0], min(weight.shape)
    k = max(1, round(share * most))
    if k + rank > most:
        raise TrainingError(
            f"a layer has {most} directions; protecting {k} of them leaves fewer than the "
            f"adapter's rank {rank}. Lower subspace.share or the rank"
        )
    with torch.no_grad():
        merged = weight.float() + float(layer.scaling[ADAPTER]) * (b @ a).float()
        u, _, vh = torch.linalg.svd(merged, full_matrices=False)
        left, right = u[:, :k].to(b.dtype).contiguous(), vh[:k].T.to(a.dtype).contiguous()
        if not bool(b.any()):  # a new adapter does nothing yet, so A may avoid them from here
            a.copy_(_without(right, a.T).T)
    # Clipping and the optimizer's moments then see only what the step may do.
    b.register_hook(lambda gradient: _without(left, gradient))
    a.register_hook(lambda gradient: _without(right, gradient.T).T)
    return Kept(b, a, b.detach().clone(), a.detach().clone(), left, right)


def _without(directions: Tensor, columns: Tensor) -> Tensor:
    """The columns (d, c) less their part in orthonormal directions (d, k)."""
    return columns - directions @ (directions.T @ columns)


def protect(model: Any, parts: Sequence[Part]) -> Subspaces | None:
    """The protected directions, if the method has a part that asks for some."""
    wanted = [part for part in parts if isinstance(part, Protected)]
    return Subspaces(model, wanted[0]) if wanted else None
