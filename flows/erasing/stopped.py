"""Step 3 of an erasure: no update is half-way, the plan is of now, nothing affected serves.

    line locks → the plan again → affected champions make way → rollback locks

The tombstones are there already, so whoever begins an update from here on learns none of the
rows. One that was running before may have been promoted since the plan was made: so the plan
is made again once nobody can move a line any more.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tidegate.flows.erasing.plan import LinePlan, Plan, make_plan
from tidegate.flows.erasing.state import State, save
from tidegate.flows.erasing.unfinished import unfinished
from tidegate.flows.home import Home
from tidegate.flows.ledger import Ledger
from tidegate.flows.locks import one_at_a_time
from tidegate.flows.progress import stage
from tidegate.flows.registry import Registry
from tidegate.flows.repeating import Again
from tidegate.flows.rollback import rollback
from tidegate.flows.standing import rolled_back
from tidegate.flows.tracing.record import reach_of
from tidegate.flows.tracing.steps import read_steps
from tidegate.flows.tracing.wanted import Wanted
from tidegate.flows.usage import UsageError

ROLLBACK = ".rollback"


@contextmanager
def stopped(
    home: Home, registry: Registry, state: State, wanted: Wanted, uri: str | None
) -> Iterator[State]:
    """Hold every model line while rows and weights go; the state with the plan as it is now.

    Raises UsageError, before anything is deleted, while an update or a rollback is running and
    if an affected version still serves.
    """
    with ExitStack() as held:
        for model in _lines(home):
            held.enter_context(one_at_a_time(home, model))
        state = save(
            home,
            state.model_copy(update={"plan": plan_of_now(home, registry, state, wanted)}),
        )
        stage("take affected versions out of service")
        _out_of_service(home, registry, state, uri)
        for model in state.plan.models:  # from here on nobody goes back to a version that goes
            held.enter_context(one_at_a_time(home, model + ROLLBACK))
        for model, version in sorted({(w.model, w.version) for w in state.plan.weights}):
            if registry.aliases(model).get("champion") == version:
                raise UsageError(
                    f"version {version} of {model!r} serves and its weights have to go: somebody "
                    "moved the champion meanwhile; run the same command again"
                )
        yield state


def plan_of_now(home: Home, registry: Registry, state: State, wanted: Wanted) -> Plan:
    """The plan with what has happened since it was made; what was under way stays in it."""
    steps = read_steps(home)
    aliases = {model: registry.aliases(model) for model in sorted({m for m, _ in steps})}
    plan = state.plan
    fresh = make_plan(steps, reach_of(home, wanted, aliases), aliases)
    known = {(v.model, v.version) for v in plan.versions}
    later = [v for v in fresh.versions if (v.model, v.version) not in known]
    before = {line.model: line for line in plan.lines}
    now = {line.model: line for line in fresh.lines}
    lines = [
        _line(home, state.request, before.get(model), now.get(model))
        for model in sorted({*before, *now})
    ]
    versions = (*plan.versions, *later)
    fresh = fresh.model_copy(update={"versions": versions})
    lost = unfinished(home, registry, fresh, wanted)
    return fresh.model_copy(
        update={
            "unfinished": (*plan.unfinished, *(u for u in lost if u not in plan.unfinished)),
            "batches": tuple(sorted({*plan.batches, *fresh.batches})),
            "lines": tuple(line for line in lines if line is not None),
        }
    )


def _line(
    home: Home, request: str, before: LinePlan | None, now: LinePlan | None
) -> LinePlan | None:
    """Of one model line. What this erasure itself took out of service is still to be rebuilt."""
    if before is None or _taken_by_others(home, request, before):
        return now
    if now is None:
        return before
    more: list[Again] = [again for again in now.rebuild if again not in before.rebuild]
    return now.model_copy(update={"rebuild": (*before.rebuild, *more)})


def _taken_by_others(home: Home, request: str, line: LinePlan) -> bool:
    """Whether somebody rolled back from the champion for another reason than this erasure."""
    written = Ledger(home.ledger).read()
    gone = rolled_back(written, line.model, line.champion)
    said = [r["predicate"]["about"]["reason"] for digest, r in written if digest == gone]
    return bool(said) and said != [_reason(request)]


def _lines(home: Home) -> list[str]:
    """Every line that an update may be running in, also one that has no version yet."""
    locks = (path.stem for path in home.updates.glob("*.lock"))
    return sorted(
        Ledger(home.ledger).model_lines()
        | {name for name in locks if not name.endswith(ROLLBACK)}
    )


def _out_of_service(home: Home, registry: Registry, state: State, uri: str | None) -> None:
    """Every champion with the rows in its weights makes way for the last clean ancestor."""
    affected = {(one.model, one.version) for one in state.plan.weights}
    for line in state.plan.lines:
        if (line.model, registry.aliases(line.model).get("champion")) in affected:
            rollback(
                line.model,
                home,
                to=line.ancestor,
                reason=_reason(state.request),
                tracking_uri=uri,
            )


def _reason(request: str) -> str:
    return f"erasure {request}"
