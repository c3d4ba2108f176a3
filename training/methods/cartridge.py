from tidegate.training.methods import Part, Rollouts, Term, method
from tidegate.training.methods.replay import replayed
from tidegate.training.recipe import Recipe


@method(reads=("replay",), needs=("cartridge",), makes="cartridge")
def cartridge(recipe: Recipe) -> tuple[Part, ...]:
    """Keys and values before every prompt, from which the base answers as if it read the batch.

    Cartridges by self-study (arXiv 2506.06266): the bare base answers questions with the batch in
    its context; KL(teacher || student) at each token of these answers, where the student sees the
    cartridge alone. Not as in the paper: most questions are the batch's own, because a small base
    asks poor ones; the answers are written once; the teacher's likeliest tokens are kept.

    The limits: it teaches what the base can take from its context. An update begins at the
    parent's cartridge, and nothing holds what that one knew but `replay`.
    """
    if recipe.cartridge is None:
        raise ValueError(f"the recipe {recipe.recipe!r} has no cartridge section")
    parts = (
        Rollouts("new", "cartridge"),
        Term("rollouts", "kl_to_corpus", share=1.0, weight=1.0),
    )
    return parts if recipe.replay is None else (*parts, replayed(recipe))
