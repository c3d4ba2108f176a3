from tidegate.training.methods import Part, Rollouts, Term, method
from tidegate.training.methods.replay import replayed
from tidegate.training.recipe import Recipe


@method(reads=("replay",), needs=("demonstrated",))
def sdft(recipe: Recipe) -> tuple[Part, ...]:
    """Learn to answer without the accepted answer as the parent does that is shown it.

    Self-distillation fine-tuning (arXiv 2601.19897). The student's own answers are read by the
    parent with the demonstration in its context; KL(teacher || student) at each of their
    tokens. Not as in the paper: the answers are written once, by the parent, and not anew at
    each step; the teacher stands still instead of following as an average; its likeliest tokens
    are kept and the rest is one bucket.

    The limits: it teaches what the parent can take from its context, which a model of less than
    about three billion weights hardly can. The accepted answer itself is never a target.
    """
    if recipe.demonstrated is None:
        raise ValueError(f"the recipe {recipe.recipe!r} has no demonstrated section")
    parts = (
        Rollouts("new", "demonstrated"),
        Term("rollouts", "kl_to_demonstrated", share=1.0, weight=1.0),
    )
    return parts if recipe.replay is None else (*parts, replayed(recipe))
