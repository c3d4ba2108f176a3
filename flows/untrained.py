"""The rulings about an update that ends without a candidate."""

from tidegate.flows.context.route import Learnable
from tidegate.gates.types import Action, Outcome, Ruling, Verdict


def nothing_to_learn(left: Learnable | None) -> Ruling:
    """left: where the kept records went instead."""
    reason = "every kept record is looked up and not learned (tidegate context list)"
    if left is not None and left.routed.modules:
        routed = left.routed
        reason = (
            f"of {routed.kept} kept records {routed.looked_up} are looked up (tidegate context "
            f"list) and {routed.modules} wait in drops of modules; none is left to learn"
        )
    return Ruling(
        gate="training",
        title="training",
        verdict=Verdict(
            outcome=Outcome.MISSING,
            reason=reason,
        ),
        action=Action.HOLD,
        why="without a record to learn there is no candidate",
    )


def training_failed(failed: Exception) -> Ruling:
    return Ruling(
        gate="training",
        title="training",
        verdict=Verdict(
            outcome=Outcome.ERROR, reason=f"training ended without a model: {failed}"
        ),
        action=Action.REJECT,
        why="without a candidate there is nothing to promote",
    )
