from tidegate.training.methods import NEW, Part, Term, method
from tidegate.training.recipe import Recipe


@method(needs=("preference",))
def dpo(recipe: Recipe) -> tuple[Part, ...]:
    """Corrections as pairs: what the user wrote is preferred to what the model had said.

    Direct preference optimisation (arXiv 2305.18290) beside cross-entropy on the new rows, as in
    iterative RPO (arXiv 2404.19733): alone, DPO may lower both answers. The reference is the
    base with the adapter disabled, so it also holds the model to its origin.

    The limits: a batch without corrections is learned as by `lora`; the record counts `pairs`.
    """
    if recipe.preference is None:
        raise ValueError(f"the recipe {recipe.recipe!r} has no preference section")
    return NEW, Term("pairs", "dpo", recipe.preference.share, recipe.preference.weight)
