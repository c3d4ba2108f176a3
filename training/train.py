"""The one training loop: rows in, adapter out, the same bytes for the same inputs.

    rows → plan of steps → for each step: pack, loss by term, backward, clip, AdamW → adapter

Everything that involves chance is drawn from the recipe's seed before the first step, so a
run that is killed and started again in the same work folder ends with the same adapter.
What is promised: equal bytes on the same machine, with the same number of threads and the
same versions. Another processor may round differently.
"""

import contextlib
import json
import math
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tidegate.gates.digest import canonical, digest_file, digest_folder, digest_json
from tidegate.gates.types import Digest, Noun, Progress, Report, ignore_progress
from tidegate.training import checkpoint
from tidegate.training.adapter import (
    WEIGHTS,
    adapter_digest,
    continue_adapter,
    new_adapter,
    save_adapter,
)
from tidegate.training.anchors import read_anchors
from tidegate.training.base import Base, load_model
from tidegate.training.losses import cross_entropy, kl_to_origin
from tidegate.training.methods import Source, Term, load_methods
from tidegate.training.packing import Item, Packed, logits_at, pack, packs_exactly
from tidegate.training.plan import plan
from tidegate.training.recipe import Recipe
from tidegate.training.rows import Row, Rows, read_rows

CHECKPOINT_EVERY = 20  # steps


class TrainingError(ValueError):
    """Training that cannot start or must not go on, and what would do."""


class Step(Noun):
    """One optimizer step. Losses are nats per learned token, before their weights."""

    step: int
    learning_rate: float
    losses: dict[str, float]
    gradient_norm: float
    tokens: int


class Counts(Noun):
    """What training was given, what it could use, and how often it saw it."""

    rows: dict[str, int]  # distinct rows by source
    seen: dict[str, int]  # rows by source, over all steps
    answer_tokens: dict[str, int]  # learned tokens by source, over all steps
    skipped: dict[str, int]  # rows never learned from, as "source: reason"
    truncated: int  # rows whose prompt lost its beginning


class Trained(Noun):
    """An adapter and how it came to be. `tokens` are real ones, prompts included."""

    adapter: Path
    digest: Digest
    inputs: Digest
    steps: int
    tokens: int
    seconds: float
    packed: bool
    history: tuple[Step, ...]
    counts: Counts


def train(
    recipe: Recipe,
    base: Base,
    *,
    parent: Path | None,
    new: Path,
    replay: Path | None,
    anchors: Path | None,
    work: Path,
    progress: Report = ignore_progress,
) -> Trained:
    """Train a candidate's adapter on `new`, continued from the champion's if there is one.

    new, replay: Parquet files of records; anchors: a folder of make_anchors. A source that
    the recipe's method does not use is not read. Writes `work/adapter` and checkpoints, and
    returns at once what an earlier call with the same inputs made there.

    Raises TrainingError (nothing to learn, a loss that is no longer a number), BaseError
    (the champion's adapter has another shape) and RowsError (a file that is not of rows).
    """
    terms = terms_of(recipe)
    sources: dict[Source, Path | None] = {"new": new, "replay": replay, "anchors": anchors}
    used = {term.source: path for term in terms if (path := sources[term.source]) is not None}
    if any(term.source == "anchors" for term in terms) and anchors is None:
        raise TrainingError(
            f"the recipe {recipe.recipe!r} needs anchors: call make_anchors first"
        )
    inputs = digest_json(
        {
            "recipe": recipe.digest,
            "base": base.digest,
            "parent": adapter_digest(parent) if parent else None,
            "sources": {source: _digest(path) for source, path in used.items()},
        }
    )
    done = _finished(work, inputs)
    if done:
        return done
    progress(Progress("load the base", 0, None, "models"))
    model, tokenizer = load_model(base)
    read: dict[Source, Rows] = {
        source: read_anchors(path) if source == "anchors" else _read(path, tokenizer, recipe)
        for source, path in used.items()
    }
    if not read["new"].rows:
        reasons = ", ".join(f"{n} {why}" for why, n in sorted(read["new"].skipped.items()))
        raise TrainingError(f"{new}: no row can be learned from ({reasons or 'it is empty'})")
    with reproducible(recipe.seed):
        adapted = (
            continue_adapter(model, recipe, parent) if parent else new_adapter(model, recipe)
        )
        return _run(adapted, recipe, base, terms, read, inputs, work, progress)


def _run(
    model: Any,
    recipe: Recipe,
    base: Base,
    terms: Sequence[Term],
    read: dict[Source, Rows],
    inputs: Digest,
    work: Path,
    progress: Report,
) -> Trained:
    rows: dict[Source, Sequence[Row]] = {
        term.source: read[term.source].rows if term.source in read else () for term in terms
    }
    steps = plan(
        terms,
        rows,
        epochs=recipe.epochs,
        rows_per_step=recipe.rows_per_step,
        seed=recipe.seed,
    )
    packed = packs_exactly(model, rows["new"][0], rows["new"][-1])
    parameters = list(checkpoint.trained_parameters(model).values())
    optimizer = torch.optim.AdamW(parameters, lr=0.0, weight_decay=recipe.weight_decay)
    work.mkdir(parents=True, exist_ok=True)
    standing = checkpoint.resume(work, inputs, model, optimizer)
    history = [Step(**step) for step in standing.notes["history"]] if standing else []
    before = standing.notes["seconds"] if standing else 0.0
    started, tokens_here = time.monotonic(), 0

    for number in range(len(history), len(steps)):
        packs = pack(steps[number], recipe.max_tokens if packed else 0)
        rate = learning_rate(recipe, number, len(steps))
        for group in optimizer.param_groups:
            group["lr"] = rate
        losses = backward(model, terms, packs)
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, recipe.clip))
        _refuse_nan(number, losses, norm)
        optimizer.step()
        optimizer.zero_grad()

        tokens = sum(one.tokens for one in packs)
        history.append(
            Step(
                step=number,
                learning_rate=rate,
                losses=losses,
                gradient_norm=norm,
                tokens=tokens,
            )
        )
        tokens_here += tokens
        seconds = time.monotonic() - started
        speed = f"steps, {tokens_here / seconds:.0f} tokens/s"
        progress(Progress("train", number + 1, len(steps), speed))
        if (number + 1) % CHECKPOINT_EVERY == 0 and number + 1 < len(steps):
            notes = {"history": [s.model_dump() for s in history], "seconds": before + seconds}
            standing = checkpoint.Standing(number + 1, notes)
            checkpoint.save(work, inputs, standing, model, optimizer)

    digest = save_adapter(model, base, work / "adapter")
    trained = Trained(
        adapter=work / "adapter",
        digest=digest,
        inputs=inputs,
        steps=len(steps),
        tokens=sum(step.tokens for step in history),
        seconds=before + time.monotonic() - started,
        packed=packed,
        history=tuple(history),
        counts=_counts(read, steps),
    )
    _finish(work, trained)
    return trained


def terms_of(recipe: Recipe) -> tuple[Term, ...]:
    methods = load_methods()
    if recipe.method not in methods:
        raise TrainingError(f"there is no method {recipe.method!r}")
    return methods[recipe.method].terms(recipe)


def backward(model: Any, terms: Sequence[Term], packs: Sequence[Packed]) -> dict[str, float]:
    """Accumulate the gradient of one step; returns the mean loss of each term."""
    total = {
        term.source: sum(_length(one.spans.get(term.source)) for one in packs) for term in terms
    }
    losses: dict[str, float] = {source: 0.0 for source, positions in total.items() if positions}
    for one in packs:
        logits = logits_at(model, one)
        parts: list[Tensor] = []
        for term in terms:
            span = one.spans.get(term.source)
            if span is None:
                continue
            mean = _loss(term, logits[span], one, span) / total[term.source]
            losses[term.source] += float(mean.detach())
            parts.append(term.weight * mean)
        torch.autograd.backward(torch.stack(parts).sum())
    return losses


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """Up in a line over the warm-up's steps, then down in a line to the floor's share."""
    warmup = round(recipe.schedule.warmup * steps)
    if step < warmup:
        return recipe.learning_rate * (step + 1) / (warmup + 1)
    gone = (step - warmup) / max(1, steps - 1 - warmup)
    return recipe.learning_rate * (1 - gone * (1 - recipe.schedule.floor))


@contextlib.contextmanager
def reproducible(seed: int) -> Iterator[None]:
    """Deterministic kernels and a seeded generator, both as they were afterwards."""
    before = torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        # On a GPU a few kernels have no deterministic form; a warning then says so.
        torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before)


def _loss(term: Term, logits: Tensor, one: Packed, span: slice) -> Tensor:
    if term.loss == "cross_entropy":
        return cross_entropy(logits, one.targets[span].to(logits.device))
    return kl_to_origin(logits, one.teachers[term.source].to(logits.device))


def _length(span: slice | None) -> int:
    return 0 if span is None else span.stop - span.start


def _refuse_nan(step: int, losses: dict[str, float], norm: float) -> None:
    for name, value in (*losses.items(), ("gradient", norm)):
        if not math.isfinite(value):
            raise TrainingError(
                f"step {step + 1}: the {name} is {value}; nothing was saved. Lower the "
                "recipe's learning_rate, or look for a broken parent adapter"
            )


def _read(path: Path, tokenizer: Any, recipe: Recipe) -> Rows:
    return read_rows(path, tokenizer, recipe.max_tokens)


def _digest(path: Path) -> Digest:
    return digest_folder(path) if path.is_dir() else digest_file(path)


def _counts(read: dict[Source, Rows], steps: Sequence[Sequence[Item]]) -> Counts:
    seen = dict.fromkeys(read, 0)
    answers = dict.fromkeys(read, 0)
    for item in (item for step in steps for item in step):
        seen[item.term] += 1  # type: ignore[index]  # items are named by their source
        answers[item.term] += item.row.answer_tokens  # type: ignore[index]
    return Counts(
        rows={source: len(found.rows) for source, found in read.items()},
        seen={str(source): n for source, n in seen.items()},
        answer_tokens={str(source): n for source, n in answers.items()},
        skipped={
            f"{source}: {reason}": n
            for source, found in read.items()
            for reason, n in sorted(found.skipped.items())
        },
        truncated=sum(found.truncated for found in read.values()),
    )


def _finish(work: Path, trained: Trained) -> None:
    partial = work / "trained.json.partial"
    partial.write_bytes(canonical(trained.model_dump(mode="json", exclude={"adapter"})))
    partial.replace(work / "trained.json")
    for folder in checkpoint.found(work):
        shutil.rmtree(folder)


def _finished(work: Path, inputs: Digest) -> Trained | None:
    """What an earlier run with these inputs left, if its adapter is still what it was."""
    note = work / "trained.json"
    if not note.is_file():
        return None
    data = json.loads(note.read_bytes()) | {"adapter": str(work / "adapter")}
    trained = Trained.model_validate_json(json.dumps(data))
    if trained.inputs != inputs or not (trained.adapter / WEIGHTS).is_file():
        return None
    return trained if adapter_digest(trained.adapter) == trained.digest else None
