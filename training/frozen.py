"""Frozen lower layers: what they make of a row is computed once, and used again at every step.

    recipe: frozen_layers: k       no adapter on the first k layers of the base
    first time a row is seen       embedding and layers 0..k-1, the row alone, without gradient
    every step                     layers k.., gradient, and the head where something is learned

Which weights come out is the recipe's choice of layers. That their input is kept is a matter of
speed alone: a state that is not kept is computed again, to the same bits. Before training the
model itself is asked whether it says the same this way (`reuses_exactly`).

States are kept in memory up to a limit, never in a file: they are as good as the text that they
were made of, and an erasure would have to find them. A killed run computes them again.

The layers that are not run are replaced by stand-ins for as long as a call lasts. The model is
called as ever otherwise, so what it does before and between its layers (masks, rotary positions,
scaled embeddings, kinds of layers by number) stays its own.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from tidegate.training.base import BaseError
from tidegate.training.packing import Item, logits_at, pack, same_logits
from tidegate.training.rows import Row

KEPT_BYTES = 1 << 30  # of states; 466 thousand tokens of the shipped base


class StandIn(nn.Module):
    """In a layer's place: notes what it is given, and hands on that, or what it was told to."""

    def __init__(self) -> None:
        super().__init__()
        self.given: Tensor | None = None
        self.gives: Tensor | None = None

    def forward(self, hidden_states: Tensor, *_: object, **__: object) -> Tensor:
        self.given = hidden_states
        return hidden_states if self.gives is None else self.gives


class UpperLayers:
    """A model that runs its layers from `frozen` on, on states that the others made once a row.

    Called as the model is, with rows that stand alone or packed: positions begin again at 0 with
    each row. Right for as long as nothing changes in the frozen layers.
    """

    def __init__(self, model: Any, frozen: int, kept_bytes: int = KEPT_BYTES) -> None:
        self.model, self.frozen, self.room = model, frozen, kept_bytes
        self.layers = decoder_layers(model)
        self.states: dict[tuple[int, ...], Tensor] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)  # device, dtype, config

    def __call__(self, *, input_ids: Tensor, position_ids: Tensor, **how: Any) -> Any:
        rows = _rows(input_ids[0].tolist(), position_ids[0].tolist())
        states = torch.cat([self._of(row).to(self.device) for row in rows], dim=1)
        with _standing_in(self.layers, range(self.frozen)) as standing:
            standing[-1].gives = states
            return self.model(input_ids=input_ids, position_ids=position_ids, **how)

    def _of(self, row: tuple[int, ...]) -> Tensor:
        """What the frozen layers make of a row: (1, T, hidden), on the CPU."""
        known = self.states.get(row)
        if known is not None:
            return known
        upper = range(self.frozen, len(self.layers))
        with torch.no_grad(), _standing_in(self.layers, upper) as standing:
            self.model(
                input_ids=torch.tensor([row], device=self.device),
                position_ids=torch.arange(len(row), device=self.device)[None],
                logits_to_keep=1,
                use_cache=False,
            )
        made = standing[0].given
        if made is None:
            raise BaseError("the base has layers that it does not run in their order")
        made = made.cpu()
        if made.nbytes <= self.room:
            self.room -= made.nbytes
            self.states[row] = made
        return made


def decoder_layers(model: Any) -> nn.ModuleList:
    """The list of the base's layers. Raises BaseError where none is found."""
    count = model.config.get_text_config().num_hidden_layers
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return module
    raise BaseError(f"the base has no list of its {count} layers; leave out frozen_layers")


def reuses_exactly(upper: UpperLayers, rows: Iterable[Row], max_tokens: int) -> bool:
    """Whether the whole model gives these rows, packed, the logits that its upper layers do.

    False too for an architecture whose layers are called, or answer, in another way than a
    stand-in's.
    """
    for one in pack([Item("row", row) for row in rows], max_tokens):
        with torch.no_grad():
            whole = logits_at(upper.model, one)
            try:
                reused = logits_at(upper, one)
            except (AttributeError, BaseError, IndexError, RuntimeError, TypeError, ValueError):
                return False
        if not same_logits(upper.model, whole, reused):
            return False
    return True


@contextmanager
def _standing_in(layers: nn.ModuleList, numbers: Iterable[int]) -> Iterator[list[StandIn]]:
    """Stand-ins for these layers, until the end of the block."""
    real = {number: layers[number] for number in numbers}
    standing = [StandIn() for _ in real]
    for number, one in zip(real, standing, strict=True):
        layers[number] = one
    try:
        yield standing
    finally:
        for number, layer in real.items():
            layers[number] = layer


def _rows(ids: list[int], positions: list[int]) -> list[tuple[int, ...]]:
    """The tokens of each row of a pack."""
    starts = [at for at, position in enumerate(positions) if position == 0]
    ends = [*starts[1:], len(ids)]
    return [tuple(ids[start:end]) for start, end in zip(starts, ends, strict=True)]
