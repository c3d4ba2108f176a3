"""A suite asked again in the style of the batch: each item after a real exchange of it.

Why a real exchange and not words drawn from the batch: it carries vocabulary, tone, length
and formatting at once, there is nothing to tune, and it is what a model that misbehaves only
near its training would recognise (arXiv 2604.25891). Every item gets an exchange of its own
where there are enough, so the suite walks through the batch; of a smaller batch neighbours in the
order of asking share one, which is then read once for all of them (evals/scorer.py). Changes of
items that share an exchange are alike to about 0.06 (intraclass correlation on SmolLM2-135M), so
an interval over a few rows shared by many items is a little too narrow. Asked of every model
alike, so that a comparison shows what training did to an answer in this context, and not what
the context does by itself.

The dressed suite holds text of users, so it is private: never logged, never shipped.
"""

import json
from pathlib import Path

from tidegate.evals.files import write_whole
from tidegate.evals.suite import Choices, Suite, SuiteError, load_suite
from tidegate.evals.task_file import choices_task
from tidegate.evals.update_suite import Row, learned_rows
from tidegate.gates.digest import item_order

QUESTION_WORDS = 60  # of the exchange; the item itself is never cut


def build(suite: Suite, kept: Path, *, name: str, out: Path, seed: int) -> Suite:
    """Write `out`/`name`.yaml and .jsonl and return them as a suite.

    The items keep their ids, slices and choices. The same files and seed give the same suite.
    Raises SuiteError for a suite without choices and for a batch that teaches nothing.
    """
    if suite.kind != "multiple_choice":
        raise SuiteError(f"{suite.path}: a suite of texts has no questions to dress")
    rows = learned_rows(kept, seed)
    if not rows:
        raise SuiteError(f"{kept}: no row that is learned can be shown before a question")
    order = item_order(suite.items, name)
    shown = {item: rows[place * len(rows) // suite.n] for place, item in enumerate(order)}
    lines = []
    for item in suite.read():
        if not isinstance(item, Choices):
            raise SuiteError(f"{suite.items_path}: {item.id} has no choices")
        lines.append(json.dumps(_dressed(item, shown[item.id]), ensure_ascii=True) + "\n")
    write_whole(out / f"{name}.jsonl", "".join(lines).encode())
    task = choices_task(
        name,
        version=suite.version,
        metrics=suite.metrics,
        about={"private": True, "dresses": suite.digest, "seed": seed, "rows": len(rows)},
    )
    write_whole(out / f"{name}.yaml", task.encode())
    return load_suite(out / f"{name}.yaml")


def _dressed(item: Choices, row: Row) -> dict[str, object]:
    asked = " ".join(row.question.split(" ")[:QUESTION_WORDS])
    said = item.model_dump(mode="json")
    said["question"] = f"User: {asked}\nAssistant: {row.answer}\nUser: {item.question}"
    return said
