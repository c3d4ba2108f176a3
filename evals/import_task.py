"""Copying a task of lm-eval's registry into a suite folder, once and while there is a network.

A policy names suites that lie on disk, with a digest: what is compared next month must be
what was compared today, and an update must not need, or trust, a hub. So a task of the
registry is imported once; after that it is a suite like any other.
"""

import json
from pathlib import Path
from typing import Any

from tidegate.evals.files import write_whole
from tidegate.evals.suite import Suite, SuiteError, load_suite
from tidegate.evals.task_file import choices_task


def import_task(
    task: str, folder: Path, *, limit: int | None = None, registry: Path | None = None
) -> Suite:
    """Write `folder`/<task>.yaml and .jsonl from a multiple-choice task with one right answer.

    registry: a folder of lm-eval tasks; lm-eval's own registry otherwise. limit: the first
    items only. The prompt is the task's own question without examples before it.
    Raises SuiteError for a task that is unknown, of another kind, or cannot be fetched.
    """
    from lm_eval.tasks import TaskManager

    manager = TaskManager(
        include_path=str(registry) if registry else None, include_defaults=registry is None
    )
    if task not in manager.all_tasks:
        raise SuiteError(f"lm-eval has no task {task!r}; `lm_eval ls tasks` lists them")
    try:
        loaded = manager.load([task])["tasks"][task]
        documents = list(loaded.eval_docs)
    except (OSError, ValueError, LookupError) as error:
        raise SuiteError(
            f"the items of {task!r} cannot be fetched ({type(error).__name__}); this needs a "
            "network that reaches the hub, once"
        ) from error
    if loaded.OUTPUT_TYPE != "multiple_choice":
        raise SuiteError(f"{task!r} is of the kind {loaded.OUTPUT_TYPE}, not multiple_choice")
    name = "".join(c if c.isalnum() else "_" for c in task.lower())
    items = [_item(loaded, doc, f"{name}-{n:05}") for n, doc in enumerate(documents[:limit], 1)]
    about = {"source": f"lm-eval task {task}", "source_version": str(loaded.VERSION)}
    lines = "".join(json.dumps(item, ensure_ascii=True) + "\n" for item in items)
    write_whole(folder / f"{name}.jsonl", lines.encode())
    written = choices_task(name, version=1, metrics=("margin", "acc"), about=about)
    write_whole(folder / f"{name}.yaml", written.encode())
    return load_suite(folder / f"{name}.yaml")


def _item(task: Any, doc: dict[str, Any], name: str) -> dict[str, Any]:
    choices, answer = task.doc_to_choice(doc), task.doc_to_target(doc)
    if not isinstance(answer, int) or not 0 <= answer < len(choices):
        raise SuiteError(f"item {name} has no single right answer among its choices")
    return {
        "id": name,
        "slice": "all",
        "question": str(task.doc_to_text(doc)).strip(),
        "choices": [str(choice).strip() for choice in choices],
        "answer": answer,
    }
