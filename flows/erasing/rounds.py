"""Another round of an erasure: what was erased has come back.

A tombstone may be deleted, and the author learned again; a backup may be restored. Then the same
command erases again: a round with acts of its own, since the first one's say what was true then.
"""

import pyarrow.compute as pc
import pyarrow.parquet as pq

from tidegate.flows.erasing import stores
from tidegate.flows.erasing.state import State, save
from tidegate.flows.erasing.stopped import plan_of_now
from tidegate.flows.erasing.weights import left_of
from tidegate.flows.home import Home
from tidegate.flows.registry import Registry
from tidegate.flows.tracing.record import left_out
from tidegate.flows.tracing.wanted import Wanted, named_rows


def next_round(home: Home, uri: str | None, state: State, wanted: Wanted) -> State:
    """The state to go on with: the same one, or one that begins anew. Changes nothing."""
    if not state.deleted:
        return state
    registry = Registry.open(home, uri)
    done = {(r.model, r.of) for r in state.rebuilt if r.done}
    lines = [
        line.model_copy(update={"rebuild": rest})
        for line in state.plan.lines
        if (rest := tuple(a for a in line.rebuild if (line.model, a.version) not in done))
    ]
    plan = state.plan.model_copy(update={"lines": tuple(lines)})
    plan = plan_of_now(home, registry, state.model_copy(update={"plan": plan}), wanted)
    known = {(one.model, one.version) for one in state.plan.weights}
    back = (
        any((one.model, one.version) not in known for one in plan.weights)
        or any(left_of(home, registry, one) for one in plan.going)
        or bool(left_out(home, wanted))
        or _holds_rows(home, wanted)
    )
    if not back:
        return state
    # A batch that is here once more is cut down once more.
    batches = {old: new for old, new in state.batches.items() if not home.batch(old).exists()}
    return State(request=state.request, round=state.round + 1, plan=plan, batches=batches)


def begun(home: Home, uri: str | None, state: State, wanted: Wanted) -> State:
    """The same, and saved if it is new."""
    now = next_round(home, uri, state, wanted)
    return state if now == state else save(home, now)


def _holds_rows(home: Home, wanted: Wanted) -> bool:
    return any(
        pc.any(named_rows(home, pq.read_table(path, columns=["id", "user"]), wanted)).as_py()
        for path in stores.row_files(home)
    )
