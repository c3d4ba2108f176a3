"""Serving an earlier version again: a statement first, then the aliases."""

import uuid
from datetime import UTC, datetime

from tidegate.flows.home import Home
from tidegate.flows.ledger import Ledger
from tidegate.flows.registry import Registry, RegistryError
from tidegate.gates.audit import statement


def rollback(
    model: str, home: Home, *, to: str | None, reason: str, tracking_uri: str | None
) -> dict[str, str]:
    """Make `to`, or the version before the champion, serve; returns was, now, statement.

    Raises RegistryError if there is no such version, or it never served.
    """
    registry = Registry.open(home, tracking_uri)
    was = registry.aliases(model).get("champion")
    if was is None:
        raise RegistryError(f"{model!r} has no champion to roll back from")
    now = to or registry.rollback_target(model)
    registry.refuse_rollback(model, now)  # before anything is written
    target = registry.load(model, now)

    record = statement(
        act="rollback",
        model=model,
        subjects={"adapter" if target.adapter else "base": target.candidate.digest},
        about={
            # Each rollback is an act of its own, even with the same reason twice.
            "decision_id": f"rollback-{uuid.uuid4().hex[:20]}",
            "was": was,
            "version": now,
            "reason": reason,
        },
        decided_at=datetime.now(UTC),
    )
    written = Ledger(home.ledger).append(record)
    moved = registry.rollback(model, now, statement=written)
    return {"was": moved.before, "now": moved.after, "statement": written}
