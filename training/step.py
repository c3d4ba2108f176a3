"""The loss of one optimizer step and its gradient, pack by pack.

Every mean is over the whole step, so how rows were packed does not change it.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tidegate.training import preference
from tidegate.training.losses import cross_entropy, kl_to_teacher, log_likelihoods
from tidegate.training.methods import Source, Term
from tidegate.training.packing import Packed, logits_at
from tidegate.training.policy_gradient import grpo, log_policy
from tidegate.training.ranks import ALONE, Ranks
from tidegate.training.recipe import Rewarded

PREFERENCES = ("dpo", "kto")


def backward(
    model: Any,
    terms: Sequence[Term],
    packs: Sequence[Packed],
    beta: float = 0.0,
    rewarded: Rewarded | None = None,
    ranks: Ranks = ALONE,
) -> dict[str, float]:
    """Accumulate the gradient of one step; returns the mean loss of each term.

    beta: how strongly preferences hold to the reference; read by dpo and kto alone. rewarded: how
    far rewards may move the model; read by grpo alone. ranks: who the packs are shared with; each
    has all of them, since a mean is over the whole step, and gets the whole step's gradient.
    """
    total = {term.source: sum(_units(term, one) for one in packs) for term in terms}
    drift = _drift(model, terms, packs)

    def of(one: Packed) -> list[float]:
        """One pack's part of the losses, by term; its gradient is added."""
        logits = logits_at(model, one)
        found = dict.fromkeys(total, 0.0)
        parts: list[Tensor] = []
        for term in terms:
            if term.source not in one.spans:
                continue
            mean = _loss(term, logits, one, beta, drift, rewarded) / total[term.source]
            found[term.source] = float(mean.detach())
            parts.append(term.weight * mean)
        torch.autograd.backward(torch.stack(parts).sum())
        return list(found.values())

    trained = [p for p in model.parameters() if p.requires_grad]
    losses = dict.fromkeys(total, 0.0)
    for found in ranks.each(packs, of, len(total), trained):
        for source, loss in zip(total, found, strict=True):
            losses[source] += loss
    return {source: loss for source, loss in losses.items() if total[source]}


def _loss(
    term: Term,
    logits: Tensor,
    one: Packed,
    beta: float,
    drift: float,
    rewarded: Rewarded | None,
) -> Tensor:
    """The sum of a term's loss over one pack."""
    if term.loss in PREFERENCES:
        mine, others = _compared(term.source, logits, one)
        if term.loss == "dpo":
            return preference.dpo(mine, others, beta)
        wanted = [placed.row.wanted for placed in one.placed[term.source]]
        return preference.kto(mine, torch.tensor(wanted, device=mine.device), drift, beta)
    if term.loss == "grpo":
        return _against_others(term.source, logits, one, rewarded)
    span = one.spans[term.source]
    if term.loss == "cross_entropy":
        return cross_entropy(logits[span], one.targets[span].to(logits.device))
    return kl_to_teacher(logits[span], one.teachers[term.source].to(logits.device))


def _compared(source: Source, logits: Tensor, one: Packed) -> tuple[Tensor, Tensor]:
    """log(model / reference) of each row's own answer and of the one it is compared with."""
    likelihoods = log_likelihoods(logits, one.targets.to(logits.device))
    mine, others = [], []
    for placed in one.placed[source]:
        row, other = placed.row, placed.row.other
        if other is None or row.reference is None or other.reference is None:
            raise ValueError(f"a row of {source!r} came without its reference")
        mine.append(likelihoods[placed.own].sum() - row.reference)
        others.append(likelihoods[placed.other].sum() - other.reference)
    return torch.stack(mine), torch.stack(others)


def _against_others(
    source: Source, logits: Tensor, one: Packed, rewarded: Rewarded | None
) -> Tensor:
    """The sum over answers, each of which is compared with the others to its question."""
    if rewarded is None:
        raise ValueError(f"nothing says how far the rewards of {source!r} may move the model")
    targets = one.targets.to(logits.device)
    likelihoods = log_policy(logits, targets, rewarded.temperature)
    losses = []
    for placed in one.placed[source]:
        row = placed.row
        if row.advantage is None or row.old_policy is None:
            raise ValueError(f"a row of {source!r} came without its advantage or old policy")
        old = row.old_policy.to(logits.device)
        own = likelihoods[placed.own]
        losses.append(grpo(own, old, row.advantage, rewarded.clip, rewarded.kl_weight))
    return torch.stack(losses).sum()


def _drift(model: Any, terms: Sequence[Term], packs: Sequence[Packed]) -> float:
    """KTO's reference point: how far the model is from the reference on mismatched answers."""
    sources = [term.source for term in terms if term.loss == "kto"]
    found: list[Tensor] = []
    with torch.no_grad():
        for source in sources:
            for one in packs:
                if source in one.spans:
                    found.append(_compared(source, logits_at(model, one), one)[1])
    return max(0.0, float(torch.cat(found).mean())) if found else 0.0


def _units(term: Term, one: Packed) -> int:
    if term.source not in one.spans:
        return 0
    if term.loss in (*PREFERENCES, "grpo"):
        return len(one.placed[term.source])
    span = one.spans[term.source]
    return len(range(span.start, span.stop))
