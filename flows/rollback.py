"""Serving an earlier version again: a statement first, then the aliases.

    finish what was begun → may it serve? → statement → aliases

Whether a version may serve again is in the ledger, and not in its tags: it was blessed or
promoted, it never had to go, its weights were not erased, and its files are those that the
signed decision is about. The bare base may always serve again: it is the last way out.

Killed after its statement, a rollback is finished by the next one: the statement is the newest
act that moved the champion, and the aliases are not where it says. Killed after its aliases too,
the same words would mean one version further back. So what is asked without a version's number is
written down first, and struck out by `reported` once whoever asked has heard of the end: until then
the same words are the same rollback.
"""

import getpass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from tidegate.flows import durable
from tidegate.flows.home import Home
from tidegate.flows.ledger import Ledger
from tidegate.flows.locks import one_at_a_time
from tidegate.flows.reconciling.expected import expected
from tidegate.flows.reconciling.serving import require_recorded
from tidegate.flows.registry import ModelVersionInfo, Registry, RegistryError
from tidegate.flows.standing import (
    Move,
    Written,
    blessed_base,
    decided_about,
    erased,
    moves,
    promoting,
    why_never_again,
)
from tidegate.flows.usage import UsageError
from tidegate.gates.audit import statement, subject
from tidegate.gates.types import Noun


class Asked(Noun):
    """A rollback to the version before, or to an alias, on its way or not yet reported."""

    to: str | None
    reason: str
    by: str
    after: str | None  # the statement that made the champion which has to go


def rollback(
    model: str,
    home: Home,
    *,
    to: str | None,
    reason: str,
    tracking_uri: str | None,
    by: str | None = None,
) -> dict[str, str]:
    """Make `to` (a version or an alias), or the version before the champion, serve.

    by: who asks for it; the user who runs this otherwise. Returns was, now, statement. A
    rollback that a killed process began is finished, and nothing else is done unless another
    version was asked for. Call `reported` once the result has arrived where it was asked for;
    until then the same words are the same rollback. Raises RegistryError if the version may not
    serve again, Unreconciled if its files are not those of its statement, UsageError without a
    reason or while another rollback runs.
    """
    if not reason.strip():
        raise UsageError("a rollback needs a reason; give one with --reason")
    who = by or getpass.getuser()
    registry = Registry.open(home, tracking_uri)
    # Not the lock of updates: one that trains for hours must not keep a bad model serving.
    with one_at_a_time(home, f"{model}.rollback"):
        written = Ledger(home.ledger).read()
        before, last = [None, None, *moves(written, model)][-2:]
        aliases = registry.aliases(model)
        wanted = aliases.get(to, to) if to else None
        if last is not None and last.act == "rollback" and last.version is not None:
            asked = _asked(home, model)
            done = registry.has_rolled_back(model, last.version)
            # `previous` alone is no sign of a killed rollback: anybody can have moved it.
            begun = not done and (asked is not None or aliases.get("champion") != last.version)
            mine = asked == _request(to, reason, who, before)
            if wanted == last.version or (begun and wanted is None) or mine:
                return _moved(registry, model, last.version, last.statement)
            if not done:
                _moved(registry, model, last.version, last.statement)
        was = registry.aliases(model).get("champion")
        if was is None:
            raise RegistryError(f"{model!r} has no champion to roll back from")
        target = wanted or _before(written, model, was)
        must = expected(written, model)
        if target == was:  # unless it serves by its alias alone: this makes it so by the ledger
            was = must.now.champion or was
        if target == was:
            raise RegistryError(f"version {was} of {model!r} serves already")
        found = _checked(home, registry, written, model, target)
        require_recorded(must, found)
        record = statement(
            act="rollback",
            model=model,
            subjects={"adapter" if found.adapter else "base": found.candidate.digest},
            about={
                # One act for what the champion was: asked twice at once, it is written once.
                "decision_id": f"rollback {model} from {was} to {target} "
                f"after {last.statement if last else 'nothing'}",
                "was": was,
                "version": target,
                "reason": reason,
                "by": who,
            },
            decided_at=datetime.now(UTC),
        )
        if to != target:
            request = _request(to, reason, who, last)
            durable.replace(_note(home, model), request.model_dump_json().encode())
        return _moved(registry, model, target, Ledger(home.ledger).append(record))


def reported(home: Home, model: str, *, reason: str, by: str | None = None) -> None:
    """Whoever asked for this rollback knows what it came to: the same words are a new one now."""
    asked = _asked(home, model)
    if asked is not None and (asked.reason, asked.by) == (reason, by or getpass.getuser()):
        _note(home, model).unlink(missing_ok=True)


def _request(to: str | None, reason: str, by: str, last: Move | None) -> Asked:
    return Asked(to=to, reason=reason, by=by, after=last.statement if last else None)


def _asked(home: Home, model: str) -> Asked | None:
    try:
        return Asked.model_validate_json(_note(home, model).read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError:
        raise UsageError(
            f"{_note(home, model)}: is damaged; look at the ledger's last rollback, and delete "
            "the file"
        ) from None


def _note(home: Home, model: str) -> Path:
    return home.updates / f"{model}.rollback.json"


def _moved(registry: Registry, model: str, to: str, written: str) -> dict[str, str]:
    said = Ledger(registry.home.ledger).find(written)
    registry.rollback(model, to, statement=written)
    was = str(said["predicate"]["about"]["was"]) if said else ""
    return {"was": was, "now": to, "statement": written}


def _before(written: Written, model: str, champion: str) -> str:
    """The champion that the ledger has before this one."""
    move = promoting(written, model, champion)
    if move is not None and move.parent is not None:
        return move.parent
    if decided_about(written, model, champion):
        raise RegistryError(
            f"version {champion} of {model!r} serves, and no statement made it champion; name "
            "the version that may serve with --to"
        )
    raise RegistryError(f"{model!r} has no version before its champion; name one")


def _checked(
    home: Home, registry: Registry, written: Written, model: str, to: str
) -> ModelVersionInfo:
    """The version with its files; raises RegistryError if it may not serve again."""
    move = promoting(written, model, to)
    if move is None:
        return _base_again(registry, written, model, to)
    never = why_never_again(home, model, to)
    if never is not None:
        raise RegistryError(never)
    found = registry.load(model, to)
    _refuse_changed(found, move)
    return found


def _base_again(registry: Registry, written: Written, model: str, to: str) -> ModelVersionInfo:
    gone = erased(written, model, to)
    if gone is not None:
        raise RegistryError(f"version {to} of {model!r} was erased ({gone[:19]}…)")
    found = registry.load(model, to)
    blessed = blessed_base(written, model)
    decided = decided_about(written, model, to)
    if decided or found.adapter is not None or found.candidate.base != blessed:
        raise RegistryError(
            f"no statement in the ledger blessed or promoted version {to} of {model!r}: it never "
            "served, and a rollback is no way around the gates"
        )
    return found


def _refuse_changed(found: ModelVersionInfo, move: Move) -> None:
    signed = (subject(move.record, "adapter"), subject(move.record, "base"))
    if (found.candidate.adapter, found.candidate.base) != signed:
        raise RegistryError(
            f"version {found.version} of {found.name!r} is {found.candidate.digest} on "
            f"{found.candidate.base} in the registry, and its signed decision is about "
            f"{signed[0]} on {signed[1]}: do not serve it"
        )
