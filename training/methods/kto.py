from tidegate.training.methods import NEW, Part, Term, method
from tidegate.training.recipe import Recipe


@method(needs=("preference",))
def kto(recipe: Recipe) -> tuple[Part, ...]:
    """Thumbs as they come: wanted answers become likelier, unwanted ones less likely.

    Kahneman-Tversky optimisation (arXiv 2402.01306) beside cross-entropy on the new rows. A
    correction counts as wanted and what it corrects as unwanted. The reference is the base with
    the adapter disabled.

    The limits: thumbs are cheap to forge and say nothing of why; the gate `honest_feedback`
    looks at that, not this method. A batch without ratings is learned as by `lora`; the record
    counts `ratings`.
    """
    if recipe.preference is None:
        raise ValueError(f"the recipe {recipe.recipe!r} has no preference section")
    return NEW, Term("ratings", "kto", recipe.preference.share, recipe.preference.weight)
