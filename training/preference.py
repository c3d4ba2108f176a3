"""Learning from what people preferred: corrections as pairs, thumbs as ratings.

    dpo  -log sigmoid(beta * (r(chosen) - r(rejected)))       Rafailov et al., arXiv 2305.18290
    kto  1 - sigmoid(beta * (r - z)) of a wanted answer,      Ethayarajh et al., arXiv 2402.01306
         1 - sigmoid(beta * (z - r)) of an unwanted one

r is log(model / reference) of a whole answer, in nats; the reference is the base with the
adapter disabled, asked once before the first step. z is the mean r of answers that belong to
other prompts, at least 0 and without a gradient: how far the model is from the reference anyway.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from torch import Tensor
from torch.nn import functional

from tidegate.training.losses import log_likelihoods
from tidegate.training.packing import Item, concatenate, logits_at
from tidegate.training.rows import Row, Rows, RowsError, control_tokens, to_row

COLUMNS = ("id", "messages", "response", "learn", "rating", "correction")


def dpo(chosen: Tensor, rejected: Tensor, beta: float) -> Tensor:
    """Sum over n pairs; chosen, rejected (n,): log(model / reference) of each answer."""
    return -functional.logsigmoid(beta * (chosen - rejected)).sum()


def kto(ratio: Tensor, wanted: Tensor, drift: float, beta: float) -> Tensor:
    """Sum over n ratings; ratio (n,): log(model / reference), wanted (n,) bool, drift: z."""
    sign = torch.where(wanted, 1.0, -1.0)
    return (1 - torch.sigmoid(beta * sign * (ratio - drift))).sum()


def read_pairs(path: Path, tokenizer: Any, max_tokens: int) -> Rows:
    """Corrected records: the correction is chosen, what the model had said is rejected."""
    control, rows = control_tokens(tokenizer), []
    for record in _records(path):
        if record["correction"] is None or record["correction"] == said(record):
            continue
        chosen = _made(record, record["correction"], tokenizer, max_tokens, control)
        rejected = _made(record, said(record), tokenizer, max_tokens, control)
        if chosen and rejected:
            rows.append(replace(chosen, other=rejected))
    return Rows(tuple(rows))


def read_ratings(path: Path, tokenizer: Any, max_tokens: int) -> Rows:
    """Rated answers; a correction is wanted, and the answer that it corrects is not.

    Each is compared with the answer of the next one to its own prompt. One alone has none to
    be compared with, and is not learned from.
    """
    control, rows = control_tokens(tokenizer), []
    for record in _records(path):
        judged = []
        if record["correction"] is not None:
            judged = [(record["correction"], True), (said(record), False)]
        elif record["rating"] is not None:
            judged = [(said(record), record["rating"] == "up")]
        for answer, wanted in judged:
            row = _made(record, answer, tokenizer, max_tokens, control)
            if row:
                rows.append(replace(row, wanted=wanted))
    if len({row.ids[row.start :] for row in rows}) < 2:
        return Rows()
    following = [*rows[1:], rows[0]]
    pairs = zip(rows, following, strict=True)
    return Rows(tuple(replace(row, other=_answering(row, after)) for row, after in pairs))


def referenced(model: Any, rows: Sequence[Row]) -> tuple[Row, ...]:
    """The rows with how likely the base finds both answers (nats, whole answers)."""
    with torch.no_grad(), model.disable_adapter():
        return tuple(
            replace(
                row,
                reference=_likelihood(model, row),
                other=replace(row.other, reference=_likelihood(model, row.other)),
            )
            for row in rows
            if row.other is not None
        )


def said(record: dict[str, Any]) -> str:
    """What the model had answered."""
    return str(record["messages"][-1]["content"])


def _likelihood(model: Any, row: Row) -> float:
    alone = concatenate([Item("row", replace(row, other=None))])
    logits = logits_at(model, alone)
    return float(log_likelihoods(logits, alone.targets.to(logits.device)).sum())


def _answering(row: Row, other: Row) -> Row:
    """The other row's answer to this row's prompt, cut to the longer of the two rows."""
    ids = (*row.ids[: row.start], *other.ids[other.start :])
    longest = max(len(row.ids), len(other.ids))
    return Row(f"{row.id} {other.id}", ids[: max(longest, row.start + 1)], row.start)


def _made(
    record: dict[str, Any],
    answer: str,
    tokenizer: Any,
    max_tokens: int,
    control: tuple[str, ...],
) -> Row | None:
    made = to_row({**record, "response": answer}, tokenizer, max_tokens, control)
    return None if isinstance(made, str) else made[0]


def _records(path: Path) -> list[dict[str, Any]]:
    names = pq.read_schema(path).names
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise RowsError(f"{path}: there is no column {missing[0]!r}; expected {COLUMNS}")
    found: list[dict[str, Any]] = pq.read_table(path, columns=list(COLUMNS)).to_pylist()
    return found
