from tidegate.training.methods import NEW, Part, Penalty, method
from tidegate.training.methods.replay import replayed
from tidegate.training.recipe import Recipe


@method(reads=("replay",), needs=("fisher",))
def ewc(recipe: Recipe) -> tuple[Part, ...]:
    """Elastic weight consolidation: weights that the parent's other answers rest on move less.

    Kirkpatrick et al. 2017 (arXiv 1612.00796), with the Fisher information of the merged weights
    on answers that the parent wrote (training/fisher.py). It costs no rows in a step.

    The limits: the penalty knows each weight by itself and only near the parent, and is renewed
    with every update rather than summed over them. In the literature it trails replay.
    """
    if recipe.fisher is None:
        raise ValueError(f"the recipe {recipe.recipe!r} has no fisher section")
    penalty = Penalty("anchors", recipe.fisher.weight, recipe.fisher.form)
    return (NEW, penalty) if recipe.replay is None else (NEW, replayed(recipe), penalty)
