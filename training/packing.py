"""Several rows in one sequence, none of which sees another: no padding is computed.

Each row's positions start again from 0. transformers reads the borders of the rows from
that and makes attention block-diagonal, as long as it is given no attention mask and no
cache. `packs_exactly` asks the model itself whether that holds.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tidegate.training.losses import TopK
from tidegate.training.row_attention import row_by_row
from tidegate.training.rows import Row


@dataclass(frozen=True)
class Item:
    """A row, and the term of the loss that it is there for."""

    term: str
    row: Row


@dataclass(frozen=True)
class Placed:
    """Where a row's learned positions are in a pack, and those of what it is compared with."""

    row: Row
    own: slice
    other: slice


@dataclass(frozen=True)
class Packed:
    """One sequence of T tokens with n positions at which something is learned.

    input_ids, position_ids (1, T) int64. keep (n,): positions whose next token is learned;
    targets (n,): those tokens. The positions of one term stand together: spans[term].
    """

    input_ids: Tensor
    position_ids: Tensor
    keep: Tensor
    targets: Tensor
    spans: dict[str, slice]
    teachers: dict[str, TopK]
    placed: dict[str, tuple[Placed, ...]]

    @property
    def tokens(self) -> int:
        return self.input_ids.shape[1]


def pack(items: Iterable[Item], max_tokens: int) -> list[Packed]:
    """First fit, longest first: close to the fewest sequences, and always the same ones.

    A row longer than max_tokens stands alone, so 0 packs nothing.
    """
    bins: list[list[Item]] = []
    room: list[int] = []
    for item in sorted(items, key=lambda i: -i.row.tokens):  # stable: ties keep their order
        size = item.row.tokens
        fits = next((b for b, free in enumerate(room) if size <= free), None)
        if fits is None:
            bins.append([item])
            room.append(max_tokens - size)
        else:
            bins[fits].append(item)
            room[fits] -= size
    return [concatenate(bin_) for bin_ in bins]


def concatenate(items: Sequence[Item]) -> Packed:
    ordered = sorted(items, key=lambda item: item.term)
    ids: list[int] = []
    positions: list[int] = []
    keep: list[int] = []
    targets: list[int] = []
    spans: dict[str, slice] = {}
    teachers: dict[str, list[TopK]] = {}
    placed: dict[str, list[Placed]] = {}
    for term, row in ((item.term, item.row) for item in ordered):
        begin = spans[term].start if term in spans else len(keep)
        ends = [len(keep)]
        for one in (row, row.other):
            if one is not None:
                offset = len(ids)
                ids += one.ids
                positions += range(len(one.ids))
                keep += range(offset + one.start - 1, offset + len(one.ids) - 1)
                targets += one.ids[one.start :]
            ends.append(len(keep))
        spans[term] = slice(begin, len(keep))
        here = Placed(row, slice(ends[0], ends[1]), slice(ends[1], ends[2]))
        placed.setdefault(term, []).append(here)
        if row.teacher is not None:
            teachers.setdefault(term, []).append(row.teacher)
    return Packed(
        input_ids=torch.tensor([ids]),
        position_ids=torch.tensor([positions]),
        keep=torch.tensor(keep),
        targets=torch.tensor(targets),
        spans=spans,
        teachers={
            term: TopK(*(torch.cat(column) for column in zip(*parts, strict=True)))
            for term, parts in teachers.items()
        },
        placed={term: tuple(rows) for term, rows in placed.items()},
    )


def logits_at(model: Any, packed: Packed) -> Tensor:
    """Logits (n, vocabulary) where something is learned; the head runs nowhere else."""
    device = model.device
    with row_by_row(model, packed.position_ids):
        logits: Tensor = model(
            input_ids=packed.input_ids.to(device),
            position_ids=packed.position_ids.to(device),
            logits_to_keep=packed.keep.to(device),
            use_cache=False,
        ).logits[0]
    return logits


def packs_exactly(model: Any, first: Row, second: Row) -> bool:
    """Whether a row's logits are the same packed behind another row as alone.

    False for architectures that carry a state across the whole sequence.
    """
    with torch.no_grad():
        alone = logits_at(model, concatenate([Item("b", second)]))
        both = concatenate([Item("a", first), Item("b", second)])
        packed = logits_at(model, both)[both.spans["b"]]
    return same_logits(model, alone, packed)


def same_logits(model: Any, one: Tensor, other: Tensor) -> bool:
    """Whether two ways to the same logits agree but for the rounding of the model's type."""
    tolerance = 1e-3 if model.dtype == torch.float32 else 0.25
    return bool((one.float() - other.float()).abs().max() <= tolerance)
