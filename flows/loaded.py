"""A version's model, ready to be measured."""

from pathlib import Path
from typing import Any

from tidegate.training.base import Base, load_model


def load_measured(base: Base, adapter: Path | None) -> tuple[Any, Any]:
    """Model and tokenizer in eval mode, for reading only (evals/merged.py). Raises BaseError."""
    from tidegate.evals.merged import merged  # late: torch takes a second that --help has not

    model, tokenizer = load_model(base, adapter)
    return merged(model), tokenizer
