"""The rebuild: the recorded updates again, without the rows, from the last clean ancestor.

Each is an ordinary update: the policy and recipe that its statement names, all gates, a
statement and a version of its own. What was promoted with a waiver needs its waiver again. The
first that is not promoted ends the rebuild; what was promoted before it serves. An update of
whose batch no row is left taught nothing else: it is left out, and the next one is repeated.
"""

from tidegate.flows.erasing.state import Rebuilt, State, save
from tidegate.flows.home import Home
from tidegate.flows.repeating import Again, learned_by, repeat, stopped_by
from tidegate.gates.types import Action

EMPTY = "no row is left in its batch"


def rebuild(home: Home, state: State, who: str, uri: str | None) -> State:
    """Repeat what has to be repeated, in every affected line. Goes on where it was stopped."""
    for line in state.plan.lines:
        for again in line.rebuild:
            made = _learned(home, state, line.model, again, uri)
            if made is None:
                made = _repeat(home, state, line.model, again, who, uri)
                if made.action is Action.PROMOTE:
                    made = _learned(home, state, line.model, again, uri) or _rolled_back(made)
            others = [r for r in state.rebuilt if (r.model, r.of) != (made.model, made.of)]
            state = save(home, state.model_copy(update={"rebuilt": (*others, made)}))
            if not made.done:
                break
    return state


def finished(state: State) -> bool:
    """Whether every update was repeated and promoted, or nothing of it was left to repeat."""
    done = {(r.model, r.of) for r in state.rebuilt if r.done}
    return all(
        (line.model, a.version) in done for line in state.plan.lines for a in line.rebuild
    )


def _learned(
    home: Home, state: State, model: str, again: Again, uri: str | None
) -> Rebuilt | None:
    """The version by which the champion learned what is left of the batch, however promoted."""
    batch = state.batches.get(again.batch, again.batch)
    step = learned_by(home, model, batch, uri) if batch else None
    if step is None:
        return None
    return Rebuilt(
        model=model,
        of=again.version,
        batch=batch,
        version=step.version,
        update_id=step.update_id,
        action=Action.PROMOTE,
    )


def _rolled_back(made: Rebuilt) -> Rebuilt:
    return made.model_copy(update={"action": Action.HOLD, "reason": "was rolled back since"})


def _repeat(
    home: Home, state: State, model: str, again: Again, who: str, uri: str | None
) -> Rebuilt:
    batch = state.batches.get(again.batch, again.batch)
    if batch is None:
        return Rebuilt(model=model, of=again.version, batch=None, action=None, reason=EMPTY)
    result = repeat(home, again, of=model, model=model, who=who, uri=uri, renamed=state.batches)
    return Rebuilt(
        model=model,
        of=again.version,
        batch=batch,
        version=result.version,
        update_id=result.update_id,
        action=result.decision.action,
        reason=stopped_by(result),
    )
