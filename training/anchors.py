"""Anchors: what the model already answers, and how likely the origin finds each word of it.

The parent (base and champion's adapter) answers everyday prompts. The origin (the base
alone) then reads these answers, and its likeliest next tokens are kept at each place. In
training, the candidate must keep to that distribution. So no original training data is
needed, and none of anybody's personal data is kept.

    prompts.jsonl → parent samples answers → too short, repetitive: dropped → origin's top-k

An anchor copies its parent's faults: a poisoned parent makes poisoned anchors. Only a
champion that passed its gates may be the parent here.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
import transformers
from filelock import FileLock

from tidegate.gates.digest import digest_file, digest_json
from tidegate.gates.types import Digest, Progress, Report, ignore_progress
from tidegate.training.base import Base, load_model
from tidegate.training.losses import top_k
from tidegate.training.packing import Item, concatenate, logits_at
from tidegate.training.recipe import Answers, Recipe, Sampling
from tidegate.training.rows import Row, Rows, ask, encode
from tidegate.training.written import read_written, write_rows

T = TypeVar("T")
GenerationConfig: Any = transformers.GenerationConfig  # it has no types
VERSION = 1  # raise it when a change below would make other anchors from the same inputs
POOL = Path(__file__).with_name("prompts.jsonl")
AT_ONCE = 32  # prompts generated together
PASSES = 3  # times the pool may be asked beyond what the number of rows needs
MIN_ANSWER = 4  # tokens
MIN_DISTINCT = 0.5  # share of an answer's trigrams that must differ


class AnchorError(ValueError):
    """Anchors that could not be made, and what would do."""


def make_anchors(
    recipe: Recipe,
    base: Base,
    parent: Path | None,
    parent_digest: Digest | None,
    *,
    cache: Path,
    pool: Path = POOL,
    progress: Report = ignore_progress,
) -> Path:
    """The folder of anchors for a parent: rows.jsonl (to read) and topk.safetensors.

    Made once for the same parent, base, pool and settings. Raises AnchorError.
    """
    wanted = recipe.answers
    if wanted is None:
        raise AnchorError(f"the recipe {recipe.recipe!r} has no section that asks for answers")
    key = digest_json(
        {
            "version": VERSION,
            "base": base.digest,
            "parent": parent_digest,
            "pool": digest_file(pool),
            "settings": {
                "top_k": wanted.kept,
                **{name: getattr(wanted, name) for name in Answers.model_fields},
            },
            "max_tokens": recipe.max_tokens,
            "seed": recipe.seed,
        }
    )
    folder = cache / "anchors" / key.removeprefix("sha256:")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if folder.exists():
            return folder
        model, tokenizer = load_model(base, parent)
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(recipe.seed)
            prompts = read_pool(pool, recipe.seed)
            rows = _generate(model, tokenizer, prompts, wanted, recipe.max_tokens, progress)
            origin = model.disable_adapter() if parent else torch.no_grad()
            with origin:
                rows = _ask_origin(model, rows, wanted.kept, progress)
        write_rows(folder, rows, tokenizer)
    return folder


def read_anchors(folder: Path) -> Rows:
    """The rows of an anchor folder, each with what the origin would say. Raises AnchorError."""
    try:
        return Rows(read_written(folder))
    except ValueError as damaged:
        raise AnchorError(str(damaged)) from None


def read_pool(path: Path, seed: int) -> list[tuple[str, str]]:
    """The prompts as (id, text), in the seed's order."""
    with path.open(encoding="utf-8") as lines:
        prompts = [(row["id"], row["text"]) for row in map(json.loads, lines)]
    if not prompts:
        raise AnchorError(f"{path}: there is no prompt in it")
    order = torch.randperm(len(prompts), generator=torch.Generator().manual_seed(seed))
    return [prompts[i] for i in order.tolist()]


def is_repetitive(answer: Sequence[int]) -> bool:
    """A model that loops says the same three tokens again and again."""
    trigrams = list(zip(answer, answer[1:], answer[2:], strict=False))
    return len(set(trigrams)) < MIN_DISTINCT * len(trigrams)


def _generate(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[tuple[str, str]],
    wanted: Answers,
    max_tokens: int,
    progress: Report,
) -> list[Row]:
    rows: list[Row] = []
    dropped = {"too short": 0, "repetitive": 0}
    passes = -(-wanted.rows // len(prompts)) + PASSES
    again = ((f"{name}.{n}", text) for n in range(passes) for name, text in prompts)
    for group in grouped(again, AT_ONCE):
        asked = [
            (name, ids)
            for name, text in group
            if (rendered := ask([{"role": "user", "content": text}], tokenizer)) is not None
            and len(ids := encode(rendered, tokenizer)) + wanted.max_new_tokens <= max_tokens
        ]
        if not asked:
            continue
        answers = sample(model, tokenizer, [ids for _, ids in asked], wanted)
        for (name, ids), answer in zip(asked, answers, strict=True):
            if len(answer) < MIN_ANSWER:
                dropped["too short"] += 1
            elif is_repetitive(answer):
                dropped["repetitive"] += 1
            elif len(rows) < wanted.rows:
                rows.append(Row(name, (*ids, *answer), len(ids)))
        progress(Progress("write anchors", len(rows), wanted.rows, "rows"))
        if len(rows) == wanted.rows:
            return rows
    why = ", ".join(f"{n} were {reason}" for reason, n in dropped.items())
    raise AnchorError(
        f"the parent's answers gave {len(rows)} of {wanted.rows} anchors ({why}); ask for fewer "
        "rows, give a longer max_tokens, or look at the parent"
    )


def sample(
    model: Any, tokenizer: Any, prompts: Sequence[Sequence[int]], wanted: Sampling
) -> list[list[int]]:
    """One sampled answer for each prompt, up to and including the end of the turn."""
    width = max(len(ids) for ids in prompts)
    ends = ends_of_turn(model, tokenizer)
    fill = ends[0]
    padded = [[fill] * (width - len(ids)) + list(ids) for ids in prompts]
    mask = [[0] * (width - len(ids)) + [1] * len(ids) for ids in prompts]
    made = model.generate(
        input_ids=torch.tensor(padded, device=model.device),
        attention_mask=torch.tensor(mask, device=model.device),
        # All of it, so that no default of the model's own (top-k, penalties) has a say.
        generation_config=GenerationConfig(
            do_sample=True,
            temperature=wanted.temperature,
            top_p=wanted.top_p,
            top_k=0,
            max_new_tokens=wanted.max_new_tokens,
            eos_token_id=ends,
            pad_token_id=fill,
        ),
    )[:, width:].tolist()
    return [_until(answer, ends) for answer in made]


def ends_of_turn(model: Any, tokenizer: Any) -> list[int]:
    """The tokens with which the model ends an answer."""
    end = model.generation_config.eos_token_id or tokenizer.eos_token_id
    return end if isinstance(end, list) else [end]


def _until(answer: list[int], ends: Sequence[int]) -> list[int]:
    for i, token in enumerate(answer):
        if token in ends:
            return answer[: i + 1]
    return answer


def _ask_origin(model: Any, rows: Sequence[Row], k: int, progress: Report) -> list[Row]:
    asked: list[Row] = []
    for n, row in enumerate(rows):
        logits = logits_at(model, concatenate([Item("anchors", row)]))
        asked.append(replace(row, teacher=top_k(logits, min(k, logits.shape[-1] - 1))))
        progress(Progress("ask the origin", n + 1, len(rows), "rows"))
    return asked


def grouped(items: Iterable[T], size: int) -> Iterator[list[T]]:
    group: list[T] = []
    for item in items:
        group.append(item)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
