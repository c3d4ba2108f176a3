"""Real tokens trained per second: packed rows against padded rows, in the same run.

    python infra/bench/train.py [--rows 16] [--rounds 2]

Both loops take the same step (the same rows, the same adapter, forward and backward) and
alternate; the best round of each counts, so that a neighbour's load hits neither. Ours packs
rows without padding and computes the head where something is learned. The other pads a
batch to its longest row and computes the head everywhere, as plain loops do. The gradients
of both are compared first: a faster loop that trains something else would be worth nothing.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from torch.nn import functional

from tidegate.flows.home import Home
from tidegate.training.adapter import new_adapter
from tidegate.training.anchors import POOL, read_pool
from tidegate.training.base import find_base, load_model
from tidegate.training.methods import NEW
from tidegate.training.packing import Item, pack
from tidegate.training.recipe import load_recipe
from tidegate.training.rows import Row, control_tokens, to_row
from tidegate.training.step import backward

COMPARED = 4  # rows on which the two gradients are compared
RECIPE = Path(__file__).parents[2] / "policies" / "recipes" / "lora.yaml"


def read(tokenizer: Any, count: int, max_tokens: int) -> list[Row]:
    """Everyday prompts, each answered with one to four others: short rows beside long ones."""
    texts = [text for _, text in read_pool(POOL, seed=0)]
    rows: list[Row] = []
    for number in range(count):
        parts = 1 + number % 4
        record = {
            "id": str(number),
            "messages": [{"role": "user", "content": texts[number]}, {}],
            "response": " ".join(texts[(number + 1 + i) % len(texts)] for i in range(parts)),
        }
        made = to_row(record, tokenizer, max_tokens, control_tokens(tokenizer))
        assert not isinstance(made, str), made
        rows.append(made[0])
    return rows


def padded(model: Any, rows: Sequence[Row]) -> None:
    """One step as it is usually written: pad, mask, every logit, -100 where nothing counts."""
    width = max(len(row.ids) for row in rows)
    ids = torch.tensor([[*row.ids, *[0] * (width - len(row.ids))] for row in rows])
    mask = torch.tensor([[1] * len(row.ids) + [0] * (width - len(row.ids)) for row in rows])
    labels = torch.full_like(ids, -100)
    for number, row in enumerate(rows):
        labels[number, row.start : len(row.ids)] = torch.tensor(row.ids[row.start :])
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    loss = functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
    torch.autograd.backward(loss)


def gradient(model: Any, step: Callable[[], object]) -> torch.Tensor:
    model.zero_grad()
    step()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=16, help="rows of a step")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--batch", type=int, default=8, help="rows padded together")
    parser.add_argument("--cache", type=Path, default=Home.find().cache)
    args = parser.parse_args()
    recipe = load_recipe(RECIPE)
    model, tokenizer = load_model(find_base(recipe.base, args.cache))
    adapted = new_adapter(model, recipe)
    rows = read(tokenizer, args.rows, recipe.max_tokens)
    tokens = sum(len(row.ids) for row in rows)

    def ours() -> None:
        packs = pack([Item("new", row) for row in rows], recipe.max_tokens)
        backward(adapted, (NEW,), packs)

    def theirs() -> None:
        for at in range(0, len(rows), args.batch):
            padded(adapted, rows[at : at + args.batch])

    # The padded loop takes a mean over each batch, so the two agree on a single batch.
    few = rows[:COMPARED]
    packed = pack([Item("new", row) for row in few], recipe.max_tokens)
    one = gradient(adapted, lambda: backward(adapted, (NEW,), packed))
    other = gradient(adapted, lambda: padded(adapted, few))
    agree = float(functional.cosine_similarity(one, other, dim=0))
    assert agree > 0.999, f"the loops compute different gradients (cosine {agree})"

    best = {"ours": float("inf"), "padded": float("inf")}
    for _ in range(args.rounds):
        for name, step in (("ours", ours), ("padded", theirs)):
            started = time.perf_counter()
            step()
            best[name] = min(best[name], time.perf_counter() - started)
    print(
        json.dumps(
            {
                "bench": "train",
                "tokens": tokens,
                "tokens_per_second": round(tokens / best["ours"], 1),
                "padded_tokens_per_second": round(tokens / best["padded"], 1),
                "ratio": round(best["padded"] / best["ours"], 2),
                "against": f"rows padded in batches of {args.batch}, the head at every token, "
                "the same model, rows and run",
            }
        )
    )


if __name__ == "__main__":
    main()
