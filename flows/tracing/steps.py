"""The versions of every model line, each with its parent, as the ledger has them.

Pure but for reading the ledger: who descends from whom is told from signed statements alone,
never from MLflow's tags.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from tidegate.flows.home import Home
from tidegate.flows.ledger import Ledger
from tidegate.flows.looking_back.history import entry_of
from tidegate.gates.audit import BrokenLedger
from tidegate.gates.types import Action


@dataclass(frozen=True)
class Step:
    """One version of a line: what an update made of its parent.

    parent: whose weights it continues from, which is the champion that it was compared with
    unless it is a consolidation; then that champion is its teacher.
    """

    model: str
    version: str
    parent: str
    update_id: str
    batch: str
    action: Action
    adapter: str | None  # digest; None: no weights were made
    statement: str
    decided_at: datetime
    teacher: str | None = None  # version; None: no consolidation


Steps = Mapping[tuple[str, str], Step]  # by model and version


def read_steps(home: Home) -> Steps:
    """All decided versions of all lines of a home, oldest first; raises BrokenLedger.

    A version that was decided again, with waivers or by approval, is as decided last.
    """
    steps: dict[tuple[str, str], Step] = {}
    for digest, record in Ledger(home.ledger).read():
        predicate = record["predicate"]
        if predicate["act"] != "decide":
            continue
        entry = entry_of(digest, record)
        batch, parent = entry.subject("batch"), predicate["about"].get("parent")
        if batch is None or parent is None:
            raise BrokenLedger(f"the statement {digest} names no batch or no parent version")
        model, continues = predicate["model"], predicate["about"].get("continues")
        steps[model, entry.version] = Step(
            model=model,
            version=entry.version,
            parent=str(parent if continues is None else continues),
            update_id=entry.update_id,
            batch=batch,
            action=entry.action,
            adapter=entry.subject("adapter"),
            statement=digest,
            decided_at=entry.decided_at,
            teacher=None if continues is None else str(parent),
        )
    return steps


def ancestry(steps: Steps, model: str, version: str) -> tuple[Step, ...]:
    """From a version back to the one made from the base, newest first; () for the base."""
    found: list[Step] = []
    at = steps.get((model, version))
    while at is not None:
        if at in found:
            raise BrokenLedger(f"version {at.version} of {model!r} is its own ancestor")
        found.append(at)
        at = steps.get((model, at.parent))
    return tuple(found)


def chain(steps: Steps, model: str, version: str) -> tuple[Step, ...]:
    """The promoted updates that led to a version, oldest first."""
    return tuple(reversed(ancestry(steps, model, version)))


def with_descendants(
    steps: Steps, touched: Iterable[tuple[str, str]]
) -> frozenset[tuple[str, str]]:
    """The versions given, and every later one whose parents or teachers lead back to them."""
    affected = set(touched)
    for (model, version), step in steps.items():  # a parent was always decided before
        if {(model, step.parent), (model, step.teacher)} & affected:
            affected.add((model, version))
    return frozenset(affected)
