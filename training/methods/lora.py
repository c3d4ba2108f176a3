from tidegate.training.methods import NEW, Part, method
from tidegate.training.recipe import Recipe


@method()
def lora(recipe: Recipe) -> tuple[Part, ...]:
    """Plain low-rank adaptation: cross-entropy on the new rows and nothing else.

    The baseline. It learns most and, at the same learning rate, drifts most: nothing holds
    the candidate to what the model did before.
    """
    return (NEW,)
