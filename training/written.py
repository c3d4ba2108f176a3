"""Rows that a model wrote, on disk: the tokens, the texts for people, and what a teacher said.

rows.jsonl        a row a line: id, prompt and answer as text, ids, where the answer starts, and
                  its advantage if it was rewarded
topk.safetensors  the teacher's likeliest tokens at each place of every answer, if there is one
notes.json        how they came to be, if anybody said so
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from tidegate.gates.digest import canonical
from tidegate.gates.drafts import draft_of
from tidegate.training.losses import TopK
from tidegate.training.methods import NOTES
from tidegate.training.rows import Row

ROWS, TOP_K = "rows.jsonl", "topk.safetensors"


def write_rows(
    folder: Path,
    rows: Sequence[Row],
    tokenizer: Any,
    notes: Mapping[str, Any] | None = None,
) -> None:
    """Write rows, all of which have a teacher or none. The folder appears whole or not at all."""
    partial = draft_of(folder)
    partial.mkdir(parents=True)
    with (partial / ROWS).open("wb") as file:
        for row in rows:
            prompt, answer = row.ids[: row.start], row.ids[row.start :]
            line = {
                "id": row.id,
                "prompt": tokenizer.decode(prompt, skip_special_tokens=True),
                "answer": tokenizer.decode(answer, skip_special_tokens=True),
                "start": row.start,
                "ids": list(row.ids),
            }
            if row.advantage is not None:
                line["advantage"] = row.advantage
            file.write(canonical(line) + b"\n")
    taught = [row.teacher for row in rows if row.teacher is not None]
    if taught:
        save_file(
            {
                "ids": torch.cat([k.ids for k in taught]).int().cpu(),
                "logp": torch.cat([k.logp for k in taught]).float().cpu(),
                "tail": torch.cat([k.tail for k in taught]).float().cpu(),
            },
            partial / TOP_K,
        )
    if notes is not None:
        (partial / NOTES).write_bytes(canonical(notes))
    partial.replace(folder)


def read_written(folder: Path) -> tuple[Row, ...]:
    """The rows, each with its teacher if they have one. Raises ValueError if parts are amiss."""
    kept = None
    if (folder / TOP_K).exists():
        tensors = load_file(folder / TOP_K)
        kept = TopK(tensors["ids"].long(), tensors["logp"], tensors["tail"])
    rows: list[Row] = []
    at = 0
    with (folder / ROWS).open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            ids, start = tuple(row["ids"]), row["start"]
            here = slice(at, at + len(ids) - start)
            teacher = kept.at(here) if kept else None
            rows.append(Row(row["id"], ids, start, teacher, advantage=row.get("advantage")))
            at = here.stop
    if kept is not None and at != len(kept.tail):
        raise ValueError(f"{folder}: rows and distributions do not belong together; delete it")
    return tuple(rows)


def read_notes(folder: Path) -> dict[str, Any]:
    """What was written down beside the rows."""
    notes: dict[str, Any] = json.loads((folder / NOTES).read_bytes())
    return notes
