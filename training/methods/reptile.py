from tidegate.training.methods import NEW, Part, WarmStart, method
from tidegate.training.methods.replay import replayed
from tidegate.training.recipe import Recipe


@method(reads=("replay",), needs=("reptile",))
def reptile(recipe: Recipe) -> tuple[Part, ...]:
    """Stand-in for MAML: training begins nearer to what all accepted updates came to.

    One outer step of Reptile (Nichol et al. 2018, arXiv 1803.02999) from the parent, over the
    adapters that were accepted on its line (training/warm_start.py); then plain training. Not MAML
    (arXiv 1703.03400): nothing is differentiated through training. Not quite Reptile either: its
    inner runs all begin at the same weights, and accepted updates began each at the one before.

    The limits: with fewer than two accepted updates it is `lora`, and the record says so. The
    start is not the champion: part of what the newest updates taught is taken back, which the
    gates against the champion have to judge. Nothing is held on the way.
    """
    if recipe.reptile is None:
        raise ValueError(f"the recipe {recipe.recipe!r} has no reptile section")
    start = WarmStart(recipe.reptile.rate, recipe.reptile.last, recipe.reptile.max_error)
    return (NEW, start) if recipe.replay is None else (NEW, replayed(recipe), start)
