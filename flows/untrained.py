"""The rulings about an update that ends without a candidate."""

from tidegate.gates.types import Action, Outcome, Ruling, Verdict


def nothing_to_learn() -> Ruling:
    return Ruling(
        gate="training",
        title="training",
        verdict=Verdict(
            outcome=Outcome.MISSING,
            reason="every kept record is looked up and not learned (tidegate context list)",
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
