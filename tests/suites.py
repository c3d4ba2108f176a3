"""Small suites, written in the test, and a tiny real model that is asked them."""

import json
import re
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.tiny import tiny_base
from tidegate.evals.harness import CHUNK, SuiteRun, measure
from tidegate.evals.suite import TASKS, Suite, load_suite
from tidegate.gates.digest import digest_bytes

ONE, TWO = digest_bytes(b"model one"), digest_bytes(b"model two")


def tiny_model(folder: Path) -> tuple[Any, Any]:
    """A tiny Llama in float32 and its tokenizer, made in the folder if it is not there."""
    if not folder.exists():
        tiny_base(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model, AutoTokenizer.from_pretrained(folder)


def write_suite(folder: Path, name: str, items: list[dict[str, Any]]) -> Suite:
    folder.mkdir(parents=True, exist_ok=True)
    kind = "general_text" if "text" in items[0] else "refusal"
    task = (TASKS / f"{kind}.yaml").read_text().replace(kind, name)
    task = re.sub(r"version: \d+", "version: 1", task)  # not the shipped suite's own
    (folder / f"{name}.yaml").write_text(
        task.replace("!function items.", "!function tidegate.evals.tasks.items.")
    )
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(i) + "\n" for i in items))
    return load_suite(folder / f"{name}.yaml")


def choices(n: int = 4) -> list[dict[str, Any]]:
    return [
        {
            "id": f"q-{i}",
            "slice": "even" if i % 2 == 0 else "odd",
            "question": f"What is {i} and {i}?",
            "choices": [f"It is {2 * i}.", f"It is not {i}", "No."],
            "answer": 0,
        }
        for i in range(n)
    ]


def passages(n: int = 3) -> list[dict[str, Any]]:
    return [
        {"id": f"t-{i}", "slice": "any", "text": f"The tide rose {i} feet. " * (i + 1)}
        for i in range(n)
    ]


def run(
    tiny: tuple[Any, Any],
    suite: Suite,
    cache: Path,
    *,
    model: str = ONE,
    chunk: int = CHUNK,
    first: int | None = None,
) -> SuiteRun:
    results = measure(
        *tiny,
        [suite],
        model_digest=model,
        role="candidate",
        cache=cache,
        first=None if first is None else {suite.name: first},
        chunk=chunk,
    )
    return results.runs[0]
