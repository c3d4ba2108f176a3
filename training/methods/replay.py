from tidegate.training.methods import NEW, Part, Term, method
from tidegate.training.recipe import Recipe


@method(needs=("replay",))
def replay(recipe: Recipe) -> tuple[Part, ...]:
    """Rehearsal: rows of accepted batches are learned again beside the new ones.

    Real rows only. Answers of the model's own, learned as hard labels, made matters worse
    than no rehearsal in every run that we made; they belong to `anchored`, as soft labels.
    """
    return NEW, replayed(recipe)


def replayed(recipe: Recipe) -> Term:
    """The term of the replay section. Raises ValueError without one."""
    if recipe.replay is None:
        raise ValueError(f"the recipe {recipe.recipe!r} has no replay section")
    return Term("replay", "cross_entropy", recipe.replay.share, recipe.replay.weight)
