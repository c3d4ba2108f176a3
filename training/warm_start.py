"""Where training begins for `reptile`: near what all accepted updates of a line came to.

    theta <- theta + rate * (mean(theta_i) - theta),   theta_i = (alpha / r) * B_i A_i

One outer step of Reptile (Nichol, Achiam and Schulman 2018, arXiv 1803.02999, its batched form)
from the champion theta over the adapters theta_i of its lineage, the champion among them. The mean
is of what the adapters do, never of their factors: those of two adapters multiplied crosswise
mean nothing. It is exact at rank k * r and cut to rank r by a singular value decomposition, as in
training/blend.py. The cut never loses more than the whole way from the champion, because the champion
has rank r itself (Eckart and Young 1936); what it loses is measured.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from tidegate.gates.types import Digest, Noun
from tidegate.training.adapter import write_adapter
from tidegate.training.adapter_digest import CONFIG, WEIGHTS, adapter_digest
from tidegate.training.base import refuse_pickled_adapter
from tidegate.training.blend import A, B, Sum, modules, same_shape, weighted_sum
from tidegate.training.methods import Part, WarmStart
from tidegate.training.trained import TrainingError


class Start(Noun):
    """The adapter that training begins from, and how it was made of `past` others.

    moved: Frobenius norm of the way from the parent, relative to what the parent's adapter does.
    error: norm of what the rank cut off that way, relative to the way.
    """

    adapter: Path | None  # None: no update was accepted yet, and training begins at the base
    past: tuple[Digest, ...]
    moved: float = 0.0
    error: float = 0.0

    @property
    def after(self) -> dict[str, float]:
        return {
            "reptile.past": float(len(self.past)),
            "reptile.moved": self.moved,
            "reptile.error": self.error,
        }


def averaged(
    parts: Sequence[Part], parent: Path | None, past: Sequence[Path]
) -> tuple[WarmStart | None, tuple[Path, ...]]:
    """The part that asks for a warm start, if the method has one, and what it is made of.

    Raises TrainingError unless past begins with the parent: a caller that forgot it would get
    plain training under another name.
    """
    for part in parts:
        if isinstance(part, WarmStart):
            begins = adapter_digest(past[0]) if past else None
            if begins != (adapter_digest(parent) if parent else None):
                raise TrainingError(
                    f"a warm start needs the accepted adapters of the line, the parent's "
                    f"({parent}) first; given were {[str(path) for path in past]}"
                )
            return part, tuple(past[: part.last])
    return None, ()


def warm_start(past: Sequence[Path], part: WarmStart, out: Path) -> Start:
    """Write the start to `out`. past: accepted adapters of one line, the parent first.

    With the parent alone there is nothing to move to: it is the start, byte for byte. Raises
    BaseError if the adapters are not of one shape or not finite, and TrainingError if the rank
    loses more than the recipe allows.
    """
    names = tuple(adapter_digest(path) for path in past)
    if len(past) < 2:
        return Start(adapter=past[0] if past else None, past=names)
    parent, *older = past
    refuse_pickled_adapter(parent)
    config = json.loads((parent / CONFIG).read_bytes())
    first = load_file(parent / WEIGHTS)
    every = [first, *(same_shape(other, parent, config, first) for other in older)]
    each = part.rate / len(every)
    shares = [1 - part.rate + each, *(each for _ in older)]
    weights, cut, way, size = dict(first), 0.0, 0.0, 0.0
    for name in modules(first):
        pairs = [(one[f"{name}{B}"].double(), one[f"{name}{A}"].double()) for one in every]
        b, a = pairs[0]
        found = weighted_sum(pairs, shares, rank=b.shape[1])
        new_b, new_a = factors(found, a)
        kind = first[f"{name}{B}"].dtype
        weights[f"{name}{B}"], weights[f"{name}{A}"] = new_b.to(kind), new_a.to(kind)
        cut, way, size = cut + found.cut, way + found.way, size + float((b @ a).square().sum())
    error = (cut / way) ** 0.5 if way else 0.0
    if not error <= part.max_error:
        raise TrainingError(
            f"a start near {len(every)} accepted updates loses {error:.3f} of its way at the "
            f"adapter's rank, and reptile.max_error is {part.max_error:g}; begin a model line of "
            "a larger rank, or lower reptile.last"
        )
    write_adapter(weights, config, out)
    moved = (way / size) ** 0.5 if size else 0.0
    return Start(adapter=out, past=names, moved=moved, error=error)


def factors(found: Sum, like: Tensor) -> tuple[Tensor, Tensor]:
    """B (m, r) and A (r, n) whose product is the sum. A's rows are orthogonal and of equal norm.

    The norm is the root mean square of the rows of `like` (r, n), or 1 where they are zeros, and
    the values are all in B, as they are in a LoRA that was trained: so the optimizer's steps mean
    what they meant, and a direction of value zero is one that can still be learned.
    """
    row = float(like.norm()) / like.shape[0] ** 0.5 or 1.0
    return (found.left * (found.values / row)).contiguous(), (found.right.T * row).contiguous()
