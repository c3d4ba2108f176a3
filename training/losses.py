"""What a step minimises, at the positions where something is to be learned.

Every loss takes logits of shape (n, vocabulary) for n positions, and returns the sum over
them, in nats; the loop divides by the number of positions in the whole step, so that how
rows were packed does not change the loss.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


class TopK(NamedTuple):
    """A distribution for each of n positions: its k likeliest tokens, and all the rest as one.

    ids (n, k) int64; logp (n, k) and tail (n,) float32, natural logarithms. Each position's
    probabilities add up to one.
    """

    ids: Tensor
    logp: Tensor
    tail: Tensor

    def at(self, positions: slice) -> "TopK":
        return TopK(*(column[positions] for column in self))

    def to(self, device: torch.device) -> "TopK":
        return TopK(*(column.to(device) for column in self))


def top_k(logits: Tensor, k: int) -> TopK:
    """Keep the k likeliest tokens of each position; the tail's mass is computed, not 1 - sum."""
    logp = functional.log_softmax(logits.float(), dim=-1)
    kept, ids = logp.topk(k, dim=-1)
    return TopK(ids, kept, _rest(logp, ids))


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Sum of -log p(target). targets (n,) int64."""
    return functional.cross_entropy(logits.float(), targets, reduction="sum")


def log_likelihoods(logits: Tensor, targets: Tensor) -> Tensor:
    """log p(target) at each position (n,)."""
    return -functional.cross_entropy(logits.float(), targets, reduction="none")


def kl_to_teacher(logits: Tensor, teacher: TopK) -> Tensor:
    """Sum of KL(teacher || model) over k tokens and the tail bucket.

    Merging the tail into one bucket can only lower the divergence, never raise it: what is
    reported is a lower bound of the full one.
    """
    logp = functional.log_softmax(logits.float(), dim=-1)
    kept = logp.gather(1, teacher.ids)
    divergence = (teacher.logp.exp() * (teacher.logp - kept)).sum()
    tail = teacher.tail.exp() * (teacher.tail - _rest(logp, teacher.ids))
    # A tail without mass adds nothing, though its logarithm is minus infinity.
    return divergence + torch.where(teacher.tail.isneginf(), 0.0, tail).sum()


def _rest(logp: Tensor, ids: Tensor) -> Tensor:
    """log of the mass outside `ids`, summed directly: 1 - sum(p) would cancel to nothing."""
    return logp.scatter(1, ids, -torch.inf).logsumexp(dim=-1)
