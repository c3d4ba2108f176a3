from tidegate.training.methods import NEW, Levels, Part, method
from tidegate.training.methods.replay import replayed
from tidegate.training.recipe import Recipe


@method(reads=("replay",), needs=("timescales",))
def two_timescale(recipe: Recipe) -> tuple[Part, ...]:
    """Stand-in for Nested Learning: some ranks of the adapter move seldom, and little.

    The update rule of a continuum memory system (Behrouz et al. 2025, arXiv 2512.24695) for two
    levels within one LoRA (training/timescales.py): the fast ranks learn at every step; the slow
    ones hold what the line does most, and follow every so many steps by a share of the moves that
    have added up. Not HOPE: no levels are added to the network, no optimizer is learned, nothing
    modifies itself, and nothing is updated while it answers. Its numbers are not claimed.

    The limits: fast ranks forget like `lora` of their rank. The first update of a line has
    nothing to keep yet: its slow ranks only learn less.
    """
    if recipe.timescales is None:
        raise ValueError(f"the recipe {recipe.recipe!r} has no timescales section")
    if recipe.timescales.slow >= recipe.lora.rank:
        raise ValueError(
            f"timescales.slow {recipe.timescales.slow} leaves no fast rank of {recipe.rank}"
        )
    levels = Levels(recipe.timescales.slow, recipe.timescales.every, recipe.timescales.rate)
    return (NEW, levels) if recipe.replay is None else (NEW, replayed(recipe), levels)
