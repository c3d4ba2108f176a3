from tidegate.training.methods import NEW, Part, Term, method
from tidegate.training.methods.replay import replayed
from tidegate.training.recipe import Recipe


@method(reads=("replay",), needs=("anchors",))
def anchored(recipe: Recipe) -> tuple[Part, ...]:
    """Learn the new rows while answering everything else as the origin would.

    On answers that the parent wrote to everyday prompts, the candidate is pulled towards the
    distribution of the origin (the base before any update), so small drifts of many updates
    cannot add up. It needs no original training data. The limits: an origin that must be
    contradicted pulls back, and drift that the prompts do not touch is not seen.
    """
    if recipe.anchors is None:
        raise ValueError(f"the recipe {recipe.recipe!r} has no anchors section")
    anchors = Term("anchors", "kl_to_origin", recipe.anchors.share, recipe.anchors.weight)
    return (NEW, anchors) if recipe.replay is None else (NEW, replayed(recipe), anchors)
