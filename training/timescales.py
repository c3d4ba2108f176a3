"""Two time scales in one adapter: what the line does most moves seldom, and little.

    B A = B_slow A_slow + B_fast A_fast      the first k ranks of r, and the others
    fast:  theta <- theta + d_t                                    at every optimizer step t
    slow:  theta <- theta + rate * (d_(t-C+1) + .. + d_t)          at every C-th step and the last

d_t is the optimizer's own step (AdamW with the recipe's learning rate), for the slow ranks at the
weights where they wait. This is the update rule of a continuum memory system with two levels
(Nested Learning, Behrouz et al. 2025, arXiv 2512.24695), on ranks of a LoRA instead of blocks of
a network.

Before the first step on a parent, its adapter is sorted: B A is decomposed, its k largest
directions become the slow ranks and the r - k smallest the fast ones. So what earlier updates
taught fast is passed on to the slow level once an update, and the adapter does exactly what it
did, but for rounding, which is measured. No rank is added, cut or averaged.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor

from tidegate.training.blend import weighted_sum
from tidegate.training.fisher import ADAPTER, adapted
from tidegate.training.methods import Levels, Part
from tidegate.training.trained import TrainingError
from tidegate.training.warm_start import factors

MAX_ERROR = 1e-4  # of what the adapter does; rounding in float32 leaves some 1e-7
WAITING = "waiting"  # kept beside the optimizer's moments, and so in its checkpoints


@dataclass(frozen=True)
class Layer:
    """One adapted layer's factors in training, and in float64 as they were at the start."""

    b: Tensor  # (m, r)
    a: Tensor  # (r, n)
    b0: Tensor
    a0: Tensor

    def moved(self, ranks: slice) -> float:
        """Squared Frobenius norm of what these ranks do now less what they did."""
        now = self.b[:, ranks].double() @ self.a[ranks].double()
        return float((now - self.b0[:, ranks] @ self.a0[ranks]).square().sum())


class Timescales:
    """The two levels of one run; made before the first step, at the parent."""

    def __init__(self, model: Any, part: Levels) -> None:
        self.part = part
        layers = list(adapted(model))
        with torch.no_grad():
            self.error = _sort(layers)
            self.layers = [_layer(layer) for layer in layers]

    def step(self, optimizer: torch.optim.Optimizer, done: int, steps: int) -> None:
        """Let the optimizer take step number `done` of `steps`, from 1, at both time scales."""
        due = done % self.part.every == 0 or done == steps
        with torch.no_grad():
            held = [(of, slow, slow.clone()) for of, slow in self._slow()]
            optimizer.step()
            for of, slow, before in held:
                waiting = optimizer.state[of].setdefault(WAITING, torch.zeros_like(slow))
                waiting += slow - before
                slow.copy_(before)
                if due:
                    slow.add_(waiting, alpha=self.part.rate)
                    waiting.zero_()

    def after(self, steps: int) -> dict[str, float]:
        """What the record says: rounding of the sort, slow moves, and slow over fast change."""
        with torch.no_grad():
            slow, fast = (
                sum(layer.moved(ranks) for layer in self.layers) ** 0.5
                for ranks in (slice(self.part.slow), slice(self.part.slow, None))
            )
        return {
            "two_timescale.error": self.error,
            "two_timescale.slow_moves": float(-(-steps // self.part.every)),
            "two_timescale.slow_over_fast": slow / fast if fast else 0.0,
        }

    def _slow(self) -> list[tuple[Tensor, Tensor]]:
        """Each trained factor, and the view of its slow ranks."""
        k = self.part.slow
        return [
            pair
            for one in self.layers
            for pair in ((one.b, one.b.detach()[:, :k]), (one.a, one.a.detach()[:k]))
        ]


def _factors(layer: LoraLayer) -> tuple[Tensor, Tensor]:
    return layer.lora_B[ADAPTER].weight, layer.lora_A[ADAPTER].weight


def _layer(layer: LoraLayer) -> Layer:
    b, a = _factors(layer)
    return Layer(b, a, b.detach().double(), a.detach().double())


def _sort(layers: Sequence[LoraLayer]) -> float:
    """Put the largest directions of each adapter first; returns the relative rounding error.

    An adapter that does nothing yet has no directions, and stays as it is. Raises TrainingError
    if sorting changed what an adapter does, and BaseError if it cannot be decomposed.
    """
    wrong, size = 0.0, 0.0
    for layer in layers:
        b, a = _factors(layer)
        if not bool(b.any()):
            continue
        old_b, old_a = b.double(), a.double()
        new_b, new_a = factors(weighted_sum([(old_b, old_a)], [1.0], a.shape[0]), old_a)
        b.copy_(new_b)
        a.copy_(new_a)
        before = old_b @ old_a
        wrong += float((b.double() @ a.double() - before).square().sum())
        size += float(before.square().sum())
    error = (wrong / size) ** 0.5 if size else 0.0
    if not error <= MAX_ERROR:
        raise TrainingError(
            f"sorting the parent's adapter into slow and fast ranks changed {error:.2g} of what it "
            f"does, and at most {MAX_ERROR:g} may be rounding; look for a broken parent adapter"
        )
    return error


def time_scales(model: Any, parts: Sequence[Part]) -> Timescales | None:
    """The two levels, if the method has a part that asks for them."""
    wanted = [part for part in parts if isinstance(part, Levels)]
    return Timescales(model, wanted[0]) if wanted else None
