"""A promotion that came too late: another version serves by now than the one compared with.

A rollback waits for no update, so it may come while one trains. Seen before the statement is
written, the decision is to hold: the ledger then holds no promotion that never was. A move in the
milliseconds behind this look leaves a statement that moves nothing (flows/standing.py).
"""

from dataclasses import replace

from tidegate.flows.one_update import Update
from tidegate.flows.reconciling.expected import expected
from tidegate.gates.decide import decide
from tidegate.gates.types import Action, Outcome, Ruling, Verdict


def unless_overtaken(update: Update) -> Update:
    """The update, held if it would replace another champion than it was compared with.

    One whose statement is written already stays as it was decided.
    """
    line, decision = update.line, update.decision
    if decision is None or decision.action is not Action.PROMOTE:
        return update
    written = line.ledger.read()
    if any(
        record["predicate"]["about"].get("decision_id") == update.id for _, record in written
    ):
        return update
    was = line.champion.version
    serving = {
        expected(written, line.name).now.champion,
        line.registry.aliases(line.name).get("champion"),
    }
    if serving == {was}:
        return update
    now = ", ".join(sorted(str(version) for version in serving - {was}))
    ruling = Ruling(
        gate="champion",
        title="champion",
        verdict=Verdict(
            outcome=Outcome.INCONCLUSIVE,
            reason=f"version {now} serves by now, and not version {was}, which the candidate was "
            "compared with: run the update again",
        ),
        action=Action.HOLD,
        why="a comparison with a version that no longer serves says nothing about today",
    )
    return replace(update, decision=decide([*decision.rulings, ruling]))
