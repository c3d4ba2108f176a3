"""Whole short trainings: ours, ours on the upper layers only, and TRL's SFTTrainer, in one run.

    python infra/bench/sft.py [--rows 48] [--epochs 3] [--rounds 2] [--batch 16]

All have the same base, rows, tokens, learned positions, adapter (the same first weights), rate,
rows a step, optimizer and clipping, float32 on the CPU; none has gradient checkpointing. They
alternate, and the best round of each counts, so that a neighbour's load hits none of them alone.
SFTTrainer runs as it does by default, with padded batches, and `padding_free`, its rows one after
another in one sequence a step: the faster of the two is what ours is compared with. On the upper
layers it has the same adapter as ours, and runs the lower ones forwards at every step; ours runs
them once a row, and that pass is part of its time.

Counted are real tokens, never padding. Loading the model and writing rows and results is outside
the time of each. Who is faster at something else would have shown nothing: the losses over all
rows after training must agree, and are printed.
"""

import argparse
import importlib
import importlib.util
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from tidegate.flows.home import Home
from tidegate.training.adapter import new_adapter
from tidegate.training.anchors import POOL, read_pool
from tidegate.training.base import Base, find_base, load_model
from tidegate.training.losses import cross_entropy
from tidegate.training.packing import Item, concatenate, logits_at
from tidegate.training.recipe import Recipe, Schedule, load_recipe
from tidegate.training.rows import Row, read_rows
from tidegate.training.train import train

RECIPES = Path(__file__).parents[2] / "policies" / "recipes"
MOST_APART = 0.1  # nats a learned token; the order of the rows is not the same


@dataclass(frozen=True)
class Run:
    """One training: how long its steps took, and the loss over all rows after it."""

    seconds: float
    loss: float  # nats a learned token


def write(path: Path, count: int) -> Path:
    """Everyday prompts, each answered with one to four others: short rows beside long ones."""
    texts = [text for _, text in read_pool(POOL, seed=0)]
    rows = [
        {
            "id": f"r{n:04}",
            "messages": [
                {"role": "user", "content": texts[n]},
                {"role": "assistant", "content": ""},
            ],
            "response": " ".join(texts[(n + 1 + i) % len(texts)] for i in range(1 + n % 4)),
            "learn": "target",
        }
        for n in range(count)
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def loss(model: Any, rows: Sequence[Row]) -> float:
    total = 0.0
    with torch.no_grad():
        for row in rows:
            one = concatenate([Item("row", row)])
            total += float(cross_entropy(logits_at(model, one), one.targets))
    return total / sum(row.answer_tokens for row in rows)


def ours(recipe: Recipe, base: Base, file: Path, rows: Sequence[Row]) -> Run:
    with tempfile.TemporaryDirectory() as work:
        trained = train(
            recipe, base, parent=None, new=file, replay=None, anchors=None, work=Path(work)
        )
        assert trained.after.get("frozen.reused", 1.0) == 1.0, "the lower layers ran every step"
        model, _ = load_model(base, trained.adapter)
        return Run(trained.seconds, loss(model, rows))


def theirs(recipe: Recipe, base: Base, rows: Sequence[Row], *, padding_free: bool) -> Run:
    """TRL's SFTTrainer on the very tokens of our rows, the prompt's masked out of the loss."""
    trl, datasets = importlib.import_module("trl"), importlib.import_module("datasets")
    model, tokenizer = load_model(base)
    adapted = new_adapter(model, recipe)
    with tempfile.TemporaryDirectory() as folder:
        how = trl.SFTConfig(
            output_dir=folder,
            num_train_epochs=recipe.epochs,
            per_device_train_batch_size=recipe.rows_per_step,
            learning_rate=recipe.learning_rate,
            lr_scheduler_type="constant",
            weight_decay=recipe.weight_decay,
            max_grad_norm=recipe.clip,
            max_length=None,
            padding_free=padding_free,
            gradient_checkpointing=False,
            use_cpu=True,
            bf16=False,
            seed=recipe.seed,
            dataloader_pin_memory=False,
            disable_tqdm=True,
            logging_strategy="no",
            save_strategy="no",
            report_to="none",
        )
        given = datasets.Dataset.from_list(
            [
                {
                    "input_ids": list(row.ids),
                    "labels": [-100] * row.start + list(row.ids[row.start :]),
                }
                for row in rows
            ]
        )
        trainer = trl.SFTTrainer(
            model=adapted, args=how, train_dataset=given, processing_class=tokenizer
        )
        started = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - started
        return Run(seconds, loss(adapted.eval(), rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=48)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--batch", type=int, default=16, help="rows of a step")
    parser.add_argument("--cache", type=Path, default=Home.find().cache)
    args = parser.parse_args()
    if importlib.util.find_spec("trl") is None:
        raise SystemExit(
            "trl is not installed, so there is nothing to compare with: make setup"
        )
    constant = {
        "epochs": args.epochs,
        "rows_per_step": args.batch,
        "schedule": Schedule(warmup=0.0, floor=1.0),
    }
    whole = load_recipe(RECIPES / "lora.yaml").model_copy(update=constant)
    frozen = load_recipe(RECIPES / "upper.yaml").frozen_layers
    upper = whole.model_copy(update={"frozen_layers": frozen})
    base = find_base(whole.base, args.cache)
    with tempfile.TemporaryDirectory() as folder:
        file = write(Path(folder) / "rows.parquet", args.rows)
        rows = read_rows(file, load_model(base)[1], whole.max_tokens).rows
        arms: dict[str, Callable[[], Run]] = {
            "ours": lambda: ours(whole, base, file, rows),
            "sft": lambda: theirs(whole, base, rows, padding_free=False),
            "sft padding_free": lambda: theirs(whole, base, rows, padding_free=True),
            "ours, upper layers": lambda: ours(upper, base, file, rows),
            "sft, upper layers": lambda: theirs(upper, base, rows, padding_free=False),
            "sft padding_free, upper layers": lambda: theirs(
                upper, base, rows, padding_free=True
            ),
        }
        best: dict[str, Run] = {}
        for _ in range(args.rounds):
            for name, run in arms.items():
                found = run()
                known = best.get(name, found)
                best[name] = min(found, known, key=lambda one: one.seconds)
                print(f"{name}: {found.seconds:.1f} s, loss {found.loss:.4f}", flush=True)

    for mine, other in (
        ("ours", "sft"),
        ("ours", "sft padding_free"),
        ("ours, upper layers", "sft, upper layers"),
        ("ours, upper layers", "sft padding_free, upper layers"),
    ):
        apart = abs(best[mine].loss - best[other].loss)
        assert apart <= MOST_APART, f"{mine} and {other} end {apart:.3f} nats a token apart"
    tokens = args.epochs * sum(len(row.ids) for row in rows)
    trl = min(best["sft"].seconds, best["sft padding_free"].seconds)
    trl_upper = min(
        best["sft, upper layers"].seconds, best["sft padding_free, upper layers"].seconds
    )
    mine, mine_upper = best["ours"].seconds, best["ours, upper layers"].seconds
    print(
        json.dumps(
            {
                "bench": "sft",
                "tokens": tokens,
                "tokens_per_second": {
                    name: round(tokens / run.seconds, 1) for name, run in best.items()
                },
                "losses": {name: round(run.loss, 4) for name, run in best.items()},
                "ratio": round(trl / mine, 2),
                "ratio_to_sft_as_it_comes": round(best["sft"].seconds / mine, 2),
                "ratio_upper_layers_to_sft": round(trl / mine_upper, 2),
                "ratio_upper_layers_to_sft_upper_layers": round(trl_upper / mine_upper, 2),
                "ratio_upper_layers_to_ours": round(mine / mine_upper, 2),
                "against": f"the faster of TRL {trl_version()}'s SFTTrainer padded and "
                f"padding_free; {args.rows} rows, {args.epochs} epochs, {args.batch} rows a "
                f"step, {frozen} layers frozen",
            }
        )
    )


def trl_version() -> str:
    return str(importlib.import_module("trl").__version__)


if __name__ == "__main__":
    main()
