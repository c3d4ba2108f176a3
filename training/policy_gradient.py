"""Learning from rewards: answers that the parent wrote, right and wrong, against one another.

    grpo  mean over tokens of  w * (1/r - 1 + log r) - min(r A, clip(r, 1-c, 1+c) A)

Shao et al. (DeepSeekMath), arXiv 2402.03300. A is the answer's advantage: how much better it was
rewarded than the others to its question, in standard deviations. r = p(token) / p_old(token). The
old policy is the parent, which wrote the answers; it is asked once, before the first step. Both
are taken at the temperature that it wrote at, so that p_old is what was drawn from.

The first part estimates KL(model || parent) from the drawn token alone (k3 of Schulman 2020), in
nats. In the paper's algorithm the reference is the policy that an iteration begins with. That is
the parent here, and not the origin.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from tidegate.training.losses import log_likelihoods
from tidegate.training.packing import Item, concatenate, logits_at
from tidegate.training.rows import Row


def advantages(rewards: Sequence[float]) -> list[float] | None:
    """Each reward less the mean of its group, in the group's own (population) deviations.

    None where all are equal: nothing then says which answer to prefer.
    """
    if len(set(rewards)) < 2:
        return None
    mean = math.fsum(rewards) / len(rewards)
    deviation = math.sqrt(math.fsum((r - mean) ** 2 for r in rewards) / len(rewards))
    return [(r - mean) / deviation for r in rewards]


def grpo(logp: Tensor, old: Tensor, advantage: float, clip: float, kl_weight: float) -> Tensor:
    """The mean over one answer's n tokens; logp, old (n,): log p of each, model and parent."""
    ratio = (logp - old).exp()
    gain = torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)
    divergence = (old - logp).exp() - 1 + (logp - old)
    return (kl_weight * divergence - gain).mean()


def log_policy(logits: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """log p(target) (n,), where answers are drawn at that temperature and nothing is cut."""
    return log_likelihoods(logits.float() / temperature, targets)


def with_old_policy(model: Any, rows: Sequence[Row], temperature: float) -> tuple[Row, ...]:
    """The rows with log p of each token by the model, which is still the parent."""
    asked = []
    with torch.no_grad():
        for row in rows:
            one = concatenate([Item("row", row)])
            logits = logits_at(model, one)
            old = log_policy(logits, one.targets.to(logits.device), temperature)
            asked.append(replace(row, old_policy=old.cpu()))
    return tuple(asked)
