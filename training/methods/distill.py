from tidegate.training.methods import NEW, Part, Term, method
from tidegate.training.recipe import Recipe


@method(reads=("replay",), needs=("anchors",))
def distill(recipe: Recipe) -> tuple[Part, ...]:
    """Learn the new rows; on all others answer as the parent does, as soft labels.

    Inspired by LoRD (Low-Redundancy Distillation, arXiv 2309.16117) and LwF (arXiv 1606.09282):
    the teacher is the champion, asked once for its likeliest tokens on answers that it wrote
    itself and on replayed rows. Not LoRD: nothing is pruned, no features are matched.

    The limits: the teacher moves with every update, so small drifts add up (`anchored` holds to
    the origin instead), and what the champion learned wrong is taught on.
    """
    if recipe.anchors is None:
        raise ValueError(f"the recipe {recipe.recipe!r} has no anchors section")
    anchors = Term("anchors", "kl_to_parent", recipe.anchors.share, recipe.anchors.weight)
    if recipe.replay is None:
        return NEW, anchors
    return (
        NEW,
        anchors,
        Term("replay", "kl_to_parent", recipe.replay.share, recipe.replay.weight),
    )
