"""What is asked of the parent once, before the first step, and then held while it moves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from tidegate.training.fisher import Consolidation
from tidegate.training.losses import TopK, top_k
from tidegate.training.methods import Part, Penalty, Slots, Source, Term
from tidegate.training.packing import Item, concatenate, logits_at
from tidegate.training.policy_gradient import with_old_policy
from tidegate.training.preference import referenced
from tidegate.training.recipe import Recipe
from tidegate.training.rows import Row, Rows
from tidegate.training.slots import claim_slots
from tidegate.training.step import PREFERENCES
from tidegate.training.subspace import Subspaces, protect
from tidegate.training.timescales import Timescales, time_scales


@dataclass(frozen=True)
class Prepared:
    """The rows of every term with what their losses compare with, and what holds weights."""

    rows: dict[Source, Sequence[Row]]
    penalties: tuple[Consolidation, ...]
    subspaces: Subspaces | None
    timescales: Timescales | None


def prepare(
    model: Any, recipe: Recipe, parts: Sequence[Part], read: Mapping[Source, Rows]
) -> Prepared:
    """Ask the model, which is still the parent. Fixes its slots where the method has some."""
    rows: dict[Source, Sequence[Row]] = {}
    for term in (part for part in parts if isinstance(part, Term)):
        given = read[term.source].rows if term.source in read else ()
        if term.loss == "kl_to_parent":
            given = _taught(model, given, recipe.answers.kept if recipe.answers else 1)
        elif term.loss in PREFERENCES:
            given = referenced(model, given)
        elif term.loss == "grpo":
            if recipe.rewarded is None:
                raise ValueError(f"the recipe {recipe.recipe!r} has no rewarded section")
            given = with_old_policy(model, given, recipe.rewarded.temperature)
        rows[term.source] = given
    penalties = tuple(
        Consolidation(model, read[part.source].rows, part)
        for part in parts
        if isinstance(part, Penalty)
    )
    for part in parts:
        if isinstance(part, Slots):
            claim_slots(model, read["new"].rows, read[part.source].rows, part.count)
    return Prepared(rows, penalties, protect(model, parts), time_scales(model, parts))


def _taught(model: Any, rows: Sequence[Row], k: int) -> tuple[Row, ...]:
    """The rows with the parent's k likeliest tokens at each place of the answer."""
    taught = []
    with torch.no_grad():
        for row in rows:
            logits = logits_at(model, concatenate([Item("row", row)]))
            kept = top_k(logits, min(k, logits.shape[-1] - 1))
            taught.append(replace(row, teacher=TopK(*(column.cpu() for column in kept))))
    return tuple(taught)
