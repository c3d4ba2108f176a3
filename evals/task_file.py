"""The lm-eval task file of a suite that is written here: fields by name, never a text."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

# Named by its module, so that the file works from any folder.
LOADER = "custom_dataset: !function tidegate.evals.tasks.items.rows\n"


def choices_task(
    name: str, *, version: int, metrics: Sequence[str], about: Mapping[str, Any]
) -> str:
    """A multiple-choice task over `<name>.jsonl` beside it. `about` goes into its metadata."""
    fields = {
        "task": f"tidegate_{name}",
        "dataset_kwargs": {"file": f"{name}.jsonl"},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "question",
        "doc_to_choice": "choices",
        "doc_to_target": "answer",
        "num_fewshot": 0,
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
        "metadata": {"version": version, "suite": name, "metrics": list(metrics), **about},
    }
    return LOADER + yaml.safe_dump(fields, sort_keys=False)
