from tidegate.training.methods import NEW, Blend, Part, method
from tidegate.training.methods.replay import replayed
from tidegate.training.recipe import Recipe


@method(reads=("replay",), needs=("interpolate",))
def interpolate(recipe: Recipe) -> tuple[Part, ...]:
    """Train plainly, then go only part of the way from the parent to what came out.

    Weight interpolation (Kozal et al. 2024, arXiv 2404.04002) without aligning permutations: both
    ends share an ancestor. Free, and it shortens an update without turning it: learning and
    drift shrink together. See training/blend.py for what is exact and what is cut.
    """
    if recipe.interpolate is None:
        raise ValueError(f"the recipe {recipe.recipe!r} has no interpolate section")
    blend = Blend(recipe.interpolate.share, recipe.interpolate.max_error)
    return (NEW, blend) if recipe.replay is None else (NEW, replayed(recipe), blend)
