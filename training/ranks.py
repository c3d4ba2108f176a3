"""Processes that take every step of training together, or one process that is alone.

    packs of a step    0   1   2   3   4
    rank 0             0       2       4      forward and backward, for each pack by itself
    rank 1                 1       3
    after each turn    a rank gets its slice of all gradients, and adds them in the packs' order
    after the last     the slices go to every rank; each takes the same step of the optimizer

That is a reduce-scatter and an all-gather, as in an all-reduce, but in an order of our own: the
sum that one process would have made, bit for bit. So it is not the number of processes that
decides which adapter comes out, as long as every one of them rounds alike (same versions, same
kind of processor, same threads). The price against an all-reduce of one sum a step: an exchange
for each turn, of as many bytes as the adapter has.

What is computed of the parent before the first step is computed by every rank; what is written,
or made by chance, is made by rank 0 and handed on (`first`). That the ranks have the same weights
is never assumed: they compare digests (`agree`).
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from tidegate.training.packing import Packed
from tidegate.training.trained import LostRank, RankError

Backward = Callable[[Packed], list[float]]
Made = TypeVar("Made")
# Rank 0 may write rollouts for hours. If it ends instead, its launcher ends the others.
PATIENCE = timedelta(days=30)


class Ranks:
    """One process, alone: nothing is shared out, and nobody has to agree."""

    rank = 0
    size = 1

    def each(
        self,
        packs: Sequence[Packed],
        backward: Backward,
        numbers: int,
        parameters: Sequence[nn.Parameter],
    ) -> list[list[float]]:
        """Run `backward` for each pack; returns its `numbers` losses of each, in their order.

        Afterwards `grad` of every parameter has the sum over all packs, on every rank.
        """
        return [backward(one) for one in packs]

    def first(self, make: Callable[[], Made]) -> Made:
        """What rank 0 makes, on every rank. It may take as long as it likes."""
        return make()

    def agree(self, what: str, tensors: Sequence[Tensor], *said: object) -> None:
        """Raise RankError unless these are the same to the last bit on every rank."""


ALONE = Ranks()


class Together(Ranks):
    """One of several processes on one machine, started by torchrun."""

    def __init__(self, device: torch.device, timeout: timedelta, meeting: Path) -> None:
        """Meet the others. timeout: how long one may be waited for within a step.

        meeting: a file that nobody else can write. Not torchrun's store, which listens on every
        address of the machine and asks nobody who he is.
        """
        backend = "nccl" if device.type == "cuda" else "gloo"
        rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        dist.init_process_group(
            backend,
            init_method=f"file://{meeting}",
            rank=rank,
            world_size=size,
            timeout=timeout,
        )
        self._patient = dist.new_group(backend="gloo", timeout=PATIENCE)
        self._device, self._timeout = device, timeout
        self.rank, self.size = rank, size

    def each(
        self,
        packs: Sequence[Packed],
        backward: Backward,
        numbers: int,
        parameters: Sequence[nn.Parameter],
    ) -> list[list[float]]:
        width = sum(p.numel() for p in parameters)
        slice_width = -(-width // self.size)
        found: list[list[float]] = []
        total: Tensor | None = None  # of this rank's slice
        for begin in range(0, len(packs), self.size):
            turn = packs[begin : begin + self.size]
            whole = parameters[0].new_zeros(slice_width * self.size)
            said = torch.zeros(numbers, dtype=torch.float64, device=self._device)
            if self.rank < len(turn):
                said.copy_(torch.tensor(backward(turn[self.rank]), dtype=torch.float64))
                whole[:width] = _taken(parameters)
            slices = torch.empty_like(whole)
            every = said.new_empty(self.size * numbers)
            with self._answered():
                dist.all_to_all_single(slices, whole)
                dist.all_gather_single(every, said)
            # Not from zero: 0 + -0 is 0, and one process would have kept the sign.
            for part in slices.view(self.size, slice_width)[: len(turn)]:
                total = part.clone() if total is None else total.add_(part)
            found += every.view(self.size, numbers)[: len(turn)].tolist()
        if total is not None:
            whole = total.new_empty(slice_width * self.size)
            with self._answered():
                dist.all_gather_single(whole, total)
            _give(parameters, whole)
        return found

    def first(self, make: Callable[[], Made]) -> Made:
        made: list[Made | None] = [make() if self.rank == 0 else None]
        with self._answered():
            dist.broadcast_object_list(made, src=0, group=self._patient)
        return made[0]  # type: ignore[return-value]  # None only if that is what was made

    def agree(self, what: str, tensors: Sequence[Tensor], *said: object) -> None:
        digest = hashlib.sha256(repr(said).encode())
        for one in tensors:
            digest.update(one.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        mine = torch.tensor(list(digest.digest()), dtype=torch.uint8, device=self._device)
        every = mine.new_empty(self.size * len(mine))
        with self._answered():
            dist.all_gather_single(every, mine)
        others = [n for n, one in enumerate(every.view(self.size, -1)) if not one.equal(mine)]
        if others:
            raise RankError(
                f"processes {self.rank} and {others[0]} differ in {what}, which they must have "
                "alike to the last bit; train with --processes 1 on this machine"
            )

    @contextmanager
    def _answered(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as no:
            raise LostRank(
                f"another process of training is gone, or did not answer for "
                f"{self._timeout.total_seconds():.0f} s ({str(no).splitlines()[0]:.120})"
            ) from no


def _taken(parameters: Sequence[nn.Parameter]) -> Tensor:
    """All gradients as one vector, taken away from the parameters."""
    gradients = [p.grad for p in parameters]
    for p in parameters:
        p.grad = None
    given = [g.flatten() for g in gradients if g is not None]
    if len(given) < len(parameters):
        # One process lets the optimizer pass these over; a zero would not be the same.
        raise RankError(
            f"a pack gave no gradient to {len(parameters) - len(given)} of {len(parameters)} "
            "trained weights (experts that no token was sent to?); train with --processes 1"
        )
    return torch.cat(given)


def _give(parameters: Sequence[nn.Parameter], whole: Tensor) -> None:
    at = 0
    for p in parameters:
        p.grad = whole[at : at + p.numel()].view_as(p).clone()
        at += p.numel()
