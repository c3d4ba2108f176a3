from tidegate.training.methods import NEW, Part, Slots, method
from tidegate.training.recipe import Recipe

TARGETS = ("down_proj",)


@method(needs=("slots",))
def sparse(recipe: Recipe) -> tuple[Part, ...]:
    """Stand-in for sparse memory layers: only FFN neurons that the batch is about may change.

    The idea of Lin et al. 2025 (arXiv 2510.15103) on an ordinary FFN (training/slots.py); no
    checkpoint with memory layers is at hand, and their numbers are not claimed. The limits: the
    rank is used up slot by slot, and an FFN's neurons are far less specific than a memory's.
    """
    if recipe.slots is None:
        raise ValueError(f"the recipe {recipe.recipe!r} has no slots section")
    if recipe.lora.targets != TARGETS or recipe.weight_decay:
        raise ValueError("the method 'sparse' is for targets: [down_proj] without weight_decay")
    if recipe.slots.count > recipe.lora.rank:
        raise ValueError(
            f"slots.count {recipe.slots.count} is more than the rank {recipe.rank}"
        )
    return NEW, Slots("anchors", recipe.slots.count)
