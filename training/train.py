"""The one training loop: rows in, adapter out, the same bytes for the same inputs.

    rows → (warm start) → ask the parent → plan of steps →
    for each step: pack, loss by term, backward, penalties, clip, AdamW → blend → adapter

Everything that involves chance is drawn from the recipe's seed before the first step, so a
run that is killed and started again in the same work folder ends with the same adapter.
What is promised: equal bytes on the same machine, with the same number of threads and the
same versions, however many processes share the steps (training/ranks.py). Another processor may
round differently.
"""

import contextlib
import math
import shutil
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from tidegate.gates.digest import digest_file, digest_folder, digest_json
from tidegate.gates.types import Digest, Progress, Report, ignore_progress
from tidegate.training import checkpoint
from tidegate.training.adapter import begin_adapter, save_adapter
from tidegate.training.adapter_digest import adapter_digest
from tidegate.training.anchors import read_anchors
from tidegate.training.base import Base, load_model
from tidegate.training.blend import blend
from tidegate.training.expand import Expanded, decided_by, expand
from tidegate.training.frozen import UpperLayers, reuses_exactly
from tidegate.training.fused import fuse
from tidegate.training.gradient_checkpointing import checkpoint_gradients
from tidegate.training.methods import (
    Blend,
    Part,
    Penalty,
    Rollouts,
    Slots,
    Source,
    Term,
    load_methods,
)
from tidegate.training.packing import Item, pack, packs_exactly
from tidegate.training.plan import plan
from tidegate.training.preference import read_pairs, read_ratings
from tidegate.training.prepare import Prepared, prepare
from tidegate.training.ranks import ALONE, Ranks
from tidegate.training.recipe import Recipe
from tidegate.training.rollouts import make_rollouts
from tidegate.training.rows import Rows, read_rows
from tidegate.training.step import backward
from tidegate.training.teacher import answering_as, taught
from tidegate.training.trained import Counts, Step, Trained, TrainingError, finish, finished
from tidegate.training.warm_start import Start, averaged, warm_start

CHECKPOINT_EVERY = 20  # steps


def train(
    recipe: Recipe,
    base: Base,
    *,
    parent: Path | None,
    new: Path,
    replay: Path | None,
    anchors: Path | None,
    work: Path,
    teacher: Path | None = None,
    past: Sequence[Path] = (),
    held_out: Sequence[str] | None = None,
    progress: Report = ignore_progress,
    ranks: Ranks = ALONE,
) -> Trained:
    """Train a candidate's adapter on `new`, continued from the champion's if there is one.

    teacher: another adapter, for a consolidation; the rows are learned as it answers them.

    new, replay: Parquet files of records; anchors: a folder of make_anchors. A source that
    the recipe's method does not use is not read. past: accepted adapters of the line, newest
    first, so the parent's before the others; read for a warm start alone. held_out: texts that
    the candidate will be asked about, which expanded rows must not repeat. Writes
    `work/adapter` and checkpoints, and returns at once what an earlier call with the same
    inputs made there. Where the method learns from what the parent writes, that stays in
    `work/rollouts`. ranks: who else trains the same, called with the same arguments; only rank 0
    writes.

    Raises TrainingError (nothing to learn, a loss that is no longer a number, rows to expand and
    nobody said what is held out), BaseError
    (the champion's adapter is of another kind or shape) and RowsError (a file that is not of rows).
    """
    parts = parts_of(recipe)
    if teacher:
        parts = taught(recipe, parts)
    sources: dict[Source, Path | None] = {
        "new": new,
        "replay": replay,
        "anchors": anchors,
        "pairs": new,
        "ratings": new,
        "rollouts": None,  # written by the parent, once it is loaded
    }
    asked = [
        part.source for part in parts if isinstance(part, Term | Penalty | Slots | Rollouts)
    ]
    used = {source: path for source in asked if (path := sources[source]) is not None}
    if "anchors" in asked and anchors is None:
        raise TrainingError(
            f"the recipe {recipe.recipe!r} needs anchors: call make_anchors first"
        )
    standing_on = adapter_digest(parent) if parent else None
    warm, past = averaged(parts, parent, past)
    decides: dict[str, Any] = {
        "recipe": recipe.digest,
        "base": base.digest,
        "parent": standing_on,
        "sources": {source: _digest(path) for source, path in used.items()},
    }
    if teacher:
        decides["teacher"] = adapter_digest(teacher)
    if warm:
        decides["past"] = [adapter_digest(path) for path in past]
    more = None if teacher else recipe.expand  # a teacher's rows are answered as they stand
    if more:
        decides["expand"] = decided_by(recipe, held_out)
    inputs = digest_json(decides)
    done = ranks.first(lambda: finished(work, inputs))
    if done:
        return done
    progress(Progress("load the base", 0, None, "models"))
    model, tokenizer = load_model(base)
    read: dict[Source, Rows] = {
        source: _read(source, path, tokenizer, recipe) for source, path in used.items()
    }
    if not read["new"].rows:
        reasons = ", ".join(f"{n} {why}" for why, n in sorted(read["new"].skipped.items()))
        raise TrainingError(f"{new}: no row can be learned from ({reasons or 'it is empty'})")
    made = Expanded()
    if more:
        made = expand(new, read["new"].rows, tokenizer, recipe, held_out)
    with reproducible(recipe.seed):
        start = ranks.first(lambda: warm_start(past, warm, work / "start") if warm else None)
        begun = start.adapter if start else parent
        adapted: Any = begin_adapter(model, tokenizer, recipe, begun, new)
        for part in parts:
            if isinstance(part, Rollouts):  # the adapted model is still the parent
                write = partial(
                    make_rollouts,
                    adapted,
                    tokenizer,
                    recipe,
                    part.kind,
                    new,
                    base=base.digest,
                    parent=standing_on,
                    work=work,
                    progress=progress,
                )
                read["rollouts"] = ranks.first(write)
        progress(Progress("ask the parent", 0, None, ""))
        with answering_as(adapted, teacher):
            prepared = prepare(adapted, recipe, parts, read)
        return _run(
            adapted, recipe, base, parent, start, parts, read, made, prepared, inputs, work,
            progress, ranks,
        )  # fmt: skip


def _run(
    model: Any,
    recipe: Recipe,
    base: Base,
    parent: Path | None,
    start: Start | None,
    parts: Sequence[Part],
    read: dict[Source, Rows],
    made: Expanded,
    prepared: Prepared,
    inputs: Digest,
    work: Path,
    progress: Report,
    ranks: Ranks,
) -> Trained:
    fuse(model)
    terms = [part for part in parts if isinstance(part, Term)]
    steps = plan(
        terms,
        prepared.rows,
        epochs=recipe.epochs,
        rows_per_step=recipe.rows_per_step,
        seed=recipe.seed,
        expanded=made.rows,
    )
    if recipe.gradient_checkpointing:
        checkpoint_gradients(model, read["new"].rows[0])
    packed = packs_exactly(model, read["new"].rows[0], read["new"].rows[-1])
    room = recipe.max_tokens if packed else 0
    asked: Any = model
    noted: dict[str, float] = {**start.after} if start else {}
    if recipe.frozen_layers:
        upper = UpperLayers(model, recipe.frozen_layers)
        reuses = reuses_exactly(upper, (read["new"].rows[0], read["new"].rows[-1]), room)
        asked = upper if reuses else model
        noted["frozen.reused"] = float(reuses)
    parameters = list(checkpoint.trained_parameters(model).values())
    optimizer = torch.optim.AdamW(parameters, lr=0.0, weight_decay=recipe.weight_decay)
    work.mkdir(parents=True, exist_ok=True)
    standing = checkpoint.resume(work, inputs, model, optimizer)
    history = [Step(**step) for step in standing.notes["history"]] if standing else []
    before = standing.notes["seconds"] if standing else 0.0
    # Notes from before there could be several have no number of them.
    processes = max(ranks.size, standing.notes.get("processes", 1) if standing else 1)
    ranks.agree("weights and plan before training", parameters, len(history), room, noted)
    beta = recipe.preference.beta if recipe.preference else 0.0
    started, tokens_here = time.monotonic(), 0

    for number in range(len(history), len(steps)):
        packs = pack(steps[number], room)
        rate = learning_rate(recipe, number, len(steps))
        for group in optimizer.param_groups:
            group["lr"] = rate
        losses = backward(asked, terms, packs, beta, recipe.rewarded, ranks)
        for penalty in prepared.penalties:
            losses["fisher"] = penalty.backward()
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, recipe.clip))
        _refuse_nan(number, losses, norm)
        if prepared.timescales:
            prepared.timescales.step(optimizer, number + 1, len(steps))
        else:
            optimizer.step()
        if prepared.subspaces:
            prepared.subspaces.hold()
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
            ranks.agree("weights", parameters)
            notes = {
                "history": [s.model_dump() for s in history],
                "seconds": before + seconds,
                "processes": processes,
            }
            if ranks.rank == 0:
                standing = checkpoint.Standing(number + 1, notes)
                checkpoint.save(work, inputs, standing, model, optimizer)

    if prepared.subspaces:
        noted["osf.leak"] = prepared.subspaces.leak()
    if prepared.timescales:
        noted |= prepared.timescales.after(len(steps))
    ranks.agree("trained weights", parameters)
    digest, after = ranks.first(lambda: _saved(model, base, parent, parts, work))
    trained = Trained(
        adapter=work / "adapter",
        digest=digest,
        inputs=inputs,
        steps=len(steps),
        tokens=sum(step.tokens for step in history),
        seconds=before + time.monotonic() - started,
        packed=packed,
        history=tuple(history),
        counts=_counts(read, made, steps),
        after=noted | after,
        past=start.past if start else None,
        processes=processes,
        threads=torch.get_num_threads(),
    )
    if ranks.rank == 0:
        shutil.rmtree(work / "start", ignore_errors=True)
        finish(work, trained)
    return trained


def parts_of(recipe: Recipe) -> tuple[Part, ...]:
    methods = load_methods()
    if recipe.method not in methods:
        raise TrainingError(f"there is no method {recipe.method!r}")
    return methods[recipe.method].parts(recipe)


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


def _refuse_nan(step: int, losses: dict[str, float], norm: float) -> None:
    for name, value in (*losses.items(), ("gradient", norm)):
        if not math.isfinite(value):
            raise TrainingError(
                f"step {step + 1}: the {name} is {value}; nothing was saved. Lower the "
                "recipe's learning_rate, or look for a broken parent adapter"
            )


def _saved(
    model: Any, base: Base, parent: Path | None, parts: Sequence[Part], work: Path
) -> tuple[Digest, dict[str, float]]:
    """Write `work/adapter`, blended with the parent where the method says so."""
    blends = [part for part in parts if isinstance(part, Blend)]
    if not blends:
        return save_adapter(model, base, work / "adapter"), {}
    (wanted,) = blends
    save_adapter(model, base, work / "unblended")
    made = blend(parent, work / "unblended", wanted.share, work / "adapter")
    if not made.error <= wanted.max_error:
        raise TrainingError(
            f"interpolating loses {made.error:.3f} of the update at the adapter's rank, and "
            f"interpolate.max_error is {wanted.max_error:g}; begin a model line of a larger "
            "rank, or lower the learning rate"
        )
    shutil.rmtree(work / "unblended")
    return made.digest, {"interpolate.share": made.share, "interpolate.error": made.error}


def _read(source: Source, path: Path, tokenizer: Any, recipe: Recipe) -> Rows:
    if source == "anchors":
        return read_anchors(path)
    reader = {"pairs": read_pairs, "ratings": read_ratings}.get(source, read_rows)
    return reader(path, tokenizer, recipe.max_tokens)


def _digest(path: Path) -> Digest:
    return digest_folder(path) if path.is_dir() else digest_file(path)


def _counts(
    read: dict[Source, Rows], made: Expanded, steps: Sequence[Sequence[Item]]
) -> Counts:
    rows: dict[str, int] = {source: len(found.rows) for source, found in read.items()}
    if made.counts:
        rows["expanded"] = sum(len(found) for found in made.rows.values())
    seen = dict.fromkeys(rows, 0)
    answers = dict.fromkeys(rows, 0)
    for item in (item for step in steps for item in step):
        source = "expanded" if item.row.of else item.term  # items are named by their source
        seen[source] += 1
        answers[source] += item.row.answer_tokens
    return Counts(
        rows=rows,
        seen=seen,
        answer_tokens=answers,
        skipped={
            f"{source}: {reason}": n
            for source, found in read.items()
            for reason, n in sorted(found.skipped.items())
        },
        truncated=sum(found.truncated for found in read.values()),
        rollouts=dict(read["rollouts"].written) if "rollouts" in read else {},
        expanded=dict(made.counts),
    )
