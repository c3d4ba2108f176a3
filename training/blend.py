"""Between two adapters in weight space: what `interpolate` and certified scaling make.

    W(s) = (1 - s) * W_parent + s * W_trained,  W = base + (alpha / r) * B A

The factors are concatenated, which is exact at rank 2r, and cut to the adapter's own rank r by
a singular value decomposition, because a continued adapter keeps its shape. What the cut loses
is measured. No other adapter of rank r loses less (Eckart and Young 1936), and so it never
loses more than mixing the factors themselves would, which is what peft's combination type
"linear" does. Without a parent there is nothing to cut: B is scaled, exactly.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from tidegate.gates.types import Digest, Noun
from tidegate.training.adapter import write_adapter
from tidegate.training.adapter_digest import CONFIG, WEIGHTS, adapter_digest
from tidegate.training.base import BaseError, refuse_pickled_adapter

A, B = "lora_A.weight", "lora_B.weight"


class Blended(Noun):
    """An adapter between two others. `error`: what its rank loses, relative to the update
    s * (W_trained - W_parent), as Frobenius norms over all layers."""

    adapter: Path
    digest: Digest
    share: float
    error: float


def blend(parent: Path | None, trained: Path, share: float, out: Path) -> Blended:
    """Write the adapter that is `share` of the way from parent to trained; 0 < share <= 1.

    Two adapters of the same shape on the same base; no parent is the base itself. Raises
    BaseError if they do not belong together.
    """
    refuse_pickled_adapter(trained)
    config = json.loads((trained / CONFIG).read_bytes())
    after = load_file(trained / WEIGHTS)
    weights, lost, moved = dict(after), 0.0, 0.0
    if share == 1 or parent is None:
        for name in modules(after):
            weights[f"{name}{B}"] = share * after[f"{name}{B}"]
    else:
        before = same_shape(parent, trained, config, after)
        for name in modules(after):
            b, a, cut, way = _between(
                (before[f"{name}{B}"], before[f"{name}{A}"]),
                (after[f"{name}{B}"], after[f"{name}{A}"]),
                share,
            )
            weights[f"{name}{B}"], weights[f"{name}{A}"] = b, a
            lost, moved = lost + cut, moved + way
    write_adapter(weights, config, out)
    # An update that moved nothing lost nothing.
    error = (lost / moved) ** 0.5 if moved else 0.0
    return Blended(adapter=out, digest=adapter_digest(out), share=share, error=error)


def _between(
    old: tuple[Tensor, Tensor], new: tuple[Tensor, Tensor], share: float
) -> tuple[Tensor, Tensor, float, float]:
    """Factors of rank r; and, squared, what was cut and how far the exact blend is from old."""
    rank, kind = old[0].shape[1], old[0].dtype
    (b0, a0), (b1, a1) = ((b.double(), a.double()) for b, a in (old, new))
    if bool(((a0 == a1).all(dim=1) | ~(a0.any(dim=1) | b0.any(dim=0))).all()):
        # The same A, but for rows that were free: B alone moved, and nothing is cut.
        b = (1 - share) * b0 + share * b1
        return b.to(kind), new[1], 0.0, float((share * (b1 - b0) @ a1).square().sum())
    found = weighted_sum([(b0, a0), (b1, a1)], [1 - share, share], rank)
    root = found.values.sqrt()
    b, a = found.left * root, (found.right * root).T
    return b.to(kind).contiguous(), a.to(kind).contiguous(), found.cut, found.way


@dataclass(frozen=True)
class Sum:
    """The best r directions of a weighted sum of products B A, largest first.

    left (m, r) and right (n, r) are orthonormal; left * values @ right.T is the sum, but for what
    was cut. cut, way: squared Frobenius norms of what was cut, and of the sum less its first term.
    """

    left: Tensor
    values: Tensor
    right: Tensor
    cut: float
    way: float


def weighted_sum(
    pairs: Sequence[tuple[Tensor, Tensor]], shares: Sequence[float], rank: int
) -> Sum:
    """Sum of shares times B A at a rank, for float64 pairs B (m, r), A (r, n) of one layer.

    Never forms an (m, n) matrix. Raises BaseError for a factor that is not finite, and for a rank
    that the layer itself does not have.
    """
    most = min(pairs[0][0].shape[0], pairs[0][1].shape[1])
    if rank > most:
        raise BaseError(
            f"a layer has {most} directions, fewer than the adapter's rank {rank}, and cannot be "
            "decomposed; begin a model line of a smaller rank"
        )
    tall, r_tall = torch.linalg.qr(torch.cat([b for b, _ in pairs], dim=1))
    wide, r_wide = torch.linalg.qr(torch.cat([a for _, a in pairs], dim=0).T)
    each = torch.cat(
        [b.new_full((b.shape[1],), share) for (b, _), share in zip(pairs, shares, strict=True)]
    )
    core = (r_tall * each) @ r_wide.T
    if not bool(core.isfinite().all()):
        raise BaseError("an adapter holds a number that is not finite; it cannot be mixed")
    u, s, v = torch.linalg.svd(core, full_matrices=False)
    first = pairs[0][0].shape[1]
    step = torch.cat([each[:first] - 1, each[first:]])
    return Sum(
        left=tall @ u[:, :rank],
        values=s[:rank],
        right=wide @ v[:rank].T,
        cut=float(s[rank:].square().sum()),
        way=float(((r_tall * step) @ r_wide.T).square().sum()),
    )


def modules(weights: dict[str, Tensor]) -> list[str]:
    return sorted(name.removesuffix(A) for name in weights if name.endswith(A))


def same_shape(
    parent: Path, trained: Path, config: dict[str, object], after: dict[str, Tensor]
) -> dict[str, Tensor]:
    """The weights of parent. Raises BaseError unless it is of the shape of trained."""
    refuse_pickled_adapter(parent)
    found = json.loads((parent / CONFIG).read_bytes())
    before: dict[str, Tensor] = load_file(parent / WEIGHTS)
    alike = all(found.get(key) == config.get(key) for key in ("peft_type", "r", "lora_alpha"))
    shapes = {name: w.shape for name, w in before.items()}
    if not alike or shapes != {name: w.shape for name, w in after.items()}:
        raise BaseError(
            f"{trained}: is of another shape than its parent {parent}; only adapters of the "
            "same rank, alpha, targets and layers have something between them"
        )
    return before
