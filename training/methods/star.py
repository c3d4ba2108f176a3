from tidegate.training.methods import Part, Rollouts, Term, method
from tidegate.training.methods.replay import replayed
from tidegate.training.recipe import Recipe


@method(reads=("replay",), needs=("verified",))
def star(recipe: Recipe) -> tuple[Part, ...]:
    """Learn what the model itself wrote, where a verifier finds it right.

    STaR (arXiv 2203.14465), one round an update: the parent answers each question several times,
    right answers are kept, and where there is none it is asked once more with the accepted answer
    as a hint (rationalisation). Then plain fine-tuning on what was kept. Not as in the paper:
    training continues from the champion, where the paper begins at the base in every round.

    The limits: a question whose answer the parent cannot find teaches nothing; the record counts
    these. An answer may be right for wrong reasons, and no verifier of texts sees that.
    """
    if recipe.verified is None:
        raise ValueError(f"the recipe {recipe.recipe!r} has no verified section")
    parts = (
        Rollouts("new", "verified"),
        Term("rollouts", "cross_entropy", share=1.0, weight=1.0),
    )
    return parts if recipe.replay is None else (*parts, replayed(recipe))
