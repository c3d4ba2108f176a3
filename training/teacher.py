"""Another adapter of the same base as the teacher: asked once, before the first step.

A consolidation continues from an older adapter, or from none, and must answer as the champion
does. Both are adapters of one base, so the teacher is a second adapter on the loaded model for
as long as it is asked; a second base in memory would not fit where one does.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tidegate.training.base import refuse_pickled_adapter
from tidegate.training.methods import Part, Term
from tidegate.training.methods.distill import distill
from tidegate.training.recipe import Recipe
from tidegate.training.trained import TrainingError

METHOD, NAME = distill.__name__, "teacher"


def taught(recipe: Recipe, parts: Sequence[Part]) -> tuple[Part, ...]:
    """The method's terms where the rows are none that are new: all are soft labels.

    What people wrote is not learned again as it stands: a later update may have corrected it,
    and the teacher knows. Raises TrainingError for another method than `distill`.
    """
    if recipe.method != METHOD:
        raise TrainingError(
            f"a consolidation needs the method {METHOD!r}, and the recipe {recipe.recipe!r} has "
            f"{recipe.method!r}"
        )
    return tuple(
        replace(part, loss="kl_to_parent") if isinstance(part, Term) else part for part in parts
    )


@contextmanager
def answering_as(model: Any, teacher: Path | None) -> Iterator[None]:
    """Inside, the model answers with the teacher's adapter; afterwards it is as it was.

    model: with one adapter, named `default`. teacher: an adapter's folder; None changes nothing.
    Raises BaseError for a folder that holds no safetensors.
    """
    if teacher is None:
        yield
        return
    refuse_pickled_adapter(teacher)
    model.load_adapter(str(teacher), NAME, is_trainable=False)
    model.set_adapter(NAME)
    try:
        yield
    finally:
        model.set_adapter("default")
        model.delete_adapter(NAME)
