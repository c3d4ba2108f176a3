from tidegate.training.methods import NEW, Part, Protected, method
from tidegate.training.methods.replay import replayed
from tidegate.training.recipe import Recipe


@method(reads=("replay",), needs=("subspace",))
def osf(recipe: Recipe) -> tuple[Part, ...]:
    """The update stays out of the largest singular directions of the parent's weights.

    OSF (orthogonal subspace fine-tuning, arXiv 2504.07097) in the shape of a LoRA
    (training/subspace.py). Not OSF: the update has the adapter's rank instead of all small
    directions, and one share is protected in every layer; its numbers are not claimed.

    The limits: large directions of a weight are not what people care about, only what the layer
    does most; an answer that rests on small ones is not held. It costs no rows in a step.
    """
    if recipe.subspace is None:
        raise ValueError(f"the recipe {recipe.recipe!r} has no subspace section")
    protected = Protected(recipe.subspace.share)
    return (NEW, protected) if recipe.replay is None else (NEW, replayed(recipe), protected)
