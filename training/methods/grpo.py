from tidegate.training.methods import Part, Rollouts, Term, method
from tidegate.training.methods.replay import replayed
from tidegate.training.recipe import Recipe


@method(reads=("replay",), needs=("rewarded",))
def grpo(recipe: Recipe) -> tuple[Part, ...]:
    """Make the parent's own answers likelier where a verifier finds them right, else less likely.

    Group relative policy optimisation (DeepSeekMath, arXiv 2402.03300), one round of answers an
    update: the parent answers each question several times, right answers are rewarded with 1 and
    all others with 0, and each answer is compared with the others to its question. The epochs are
    the inner steps on these answers; the paper's loop of new answers from the new policy is not
    here. It stands in for TTT-Discover (arXiv 2601.16175), which has many rounds on one problem,
    graded rewards, an objective for the best answer and starts that are used again: none of that.

    The limits: a question that the parent always or never answers right teaches nothing; the
    record counts these. What the parent never writes is not found. The verifier is the reward:
    right for wrong reasons is rewarded.
    """
    if recipe.rewarded is None:
        raise ValueError(f"the recipe {recipe.recipe!r} has no rewarded section")
    parts = (
        Rollouts("new", "rewarded"),
        Term("rollouts", "grpo", share=1.0, weight=1.0),
    )
    return parts if recipe.replay is None else (*parts, replayed(recipe))
