"""Items for lm-eval, read from the JSON Lines file that lies beside the task's YAML file.

A task names this function and its file:

    custom_dataset: !function items.rows
    dataset_kwargs: {file: refusal.jsonl}

lm-eval's own JSON reader takes paths from the working directory and copies the data into a
cache in the user's home; this one depends on neither. It imports nothing of tidegate, so
that `lm_eval --include_path evals/tasks` runs from a checkout alone.
"""

import json
from pathlib import Path
from typing import Any

from datasets import Dataset


def rows(*, file: str, config_source: str, **_metadata: Any) -> dict[str, Dataset]:
    """The items as lm-eval's split `test`, in the order of the file.

    lm-eval passes `config_source`, the path of the YAML file, and the rest of the task's
    metadata. Raises OSError or json.JSONDecodeError for a file that cannot be read.
    """
    text = (Path(config_source).parent / file).read_text(encoding="utf-8")
    return {"test": Dataset.from_list([json.loads(line) for line in text.split("\n") if line])}
