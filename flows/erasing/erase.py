"""Steps 2 and 4 of an erasure: nobody learns from the rows, and all that holds them is deleted.

    tombstones → (stopped.py) → texts to look for → smaller batches → learned, context,
    modules, quarantine, weights → rows → batches

Each step can be repeated and leaves what the next one needs. Texts are gathered before anything
goes; ids are needed for what is noted of authors, so rows go after that; a batch goes last,
because it says where its rows are.
"""

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tidegate.flows.erasing import stores, weights
from tidegate.flows.erasing.state import State, save
from tidegate.flows.home import Home
from tidegate.flows.registry import Registry
from tidegate.flows.tracing import index
from tidegate.flows.tracing.marks import Marker
from tidegate.flows.tracing.steps import read_steps
from tidegate.flows.tracing.wanted import Wanted, named_rows


def widened(home: Home, wanted: Wanted) -> Wanted:
    """With the marks of all known records of the authors, for files that name no author."""
    records, authors = (
        pa.array(sorted(m), pa.string()) for m in (wanted.records, wanted.authors)
    )
    found = set(wanted.records)
    for step in read_steps(home).values():
        rows = index.read(home, step.update_id, step.batch).marked(records, authors)
        found.update(rows["record"].to_pylist())
    marker = Marker(home)
    for path in stores.row_files(home):
        table = pq.read_table(path, columns=["id", "user"])
        named = table.filter(named_rows(home, table, wanted))
        found.update(marker.records(named["id"].to_pylist()))
    return Wanted(frozenset(found), wanted.authors)


def smaller_batches(home: Home, state: State, wanted: Wanted, *, needed: bool) -> State:
    """A batch without the rows for each that held them.

    needed: for the rebuild, so that a batch that is gone is an error.
    """
    updates = {
        again.batch: again.update_id for line in state.plan.lines for again in line.rebuild
    }
    made = dict(state.batches)
    for digest in state.plan.batches:
        stored = home.batch(digest).exists() or (needed and digest in updates)
        if digest not in made and stored:
            made[digest] = stores.without(home, digest, wanted, updates.get(digest))
            state = save(home, state.model_copy(update={"batches": made}))
    return state


def deletions(
    home: Home, registry: Registry, state: State, wanted: Wanted, statement: str
) -> list[tuple[str, Callable[[], Any]]]:
    """What is deleted, in order, each with its name; each may be repeated."""
    going = state.plan.going
    adapters = [one.adapter for one in going if one.adapter]

    def registered() -> None:
        for one in going:
            weights.remove(registry, one, statement)

    return [
        ("learned", lambda: stores.forget_learned(home, wanted, state.batches)),
        ("context", lambda: stores.forget_context(home, wanted, state.batches)),
        ("modules", lambda: stores.forget_modules(home, wanted, state.batches)),
        ("quarantine", lambda: stores.forget_quarantined(home, wanted)),
        ("weights", lambda: stores.forget_weights(home, going)),
        ("registry", registered),
        ("answers", lambda: stores.forget_answers(home, adapters)),
        ("results", lambda: stores.forget_results(home)),
        ("updates", lambda: stores.forget_in_updates(home, wanted)),
        ("batches", lambda: stores.forget_batches(home, state.plan.batches, wanted)),
    ]
