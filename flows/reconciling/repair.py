"""Putting aliases and gov.* tags back to what the ledger says.

    compare → refuse what cannot serve → plan → statement → tags, then aliases, `champion` last

It makes no file and no version again, and finishes no update: what a killed update left behind is
finished by that update. The plan is kept until all is done, so a repair that was killed is the
same act when it is run again.
"""

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

from pydantic import Field, ValidationError

from tidegate.flows import durable
from tidegate.flows.home import Home
from tidegate.flows.ledger import Ledger
from tidegate.flows.locks import one_at_a_time
from tidegate.flows.provenance import login_name
from tidegate.flows.reconciling.aliases import (
    alias_changes,
    tag_changes,
    tag_findings,
    unfinished,
)
from tidegate.flows.reconciling.compare import compare, finished_in
from tidegate.flows.reconciling.expected import Expected
from tidegate.flows.reconciling.finding import Kind, Unreconciled
from tidegate.flows.reconciling.serving import ledger_says
from tidegate.flows.registry import Registry, RegistryError
from tidegate.gates.audit import statement
from tidegate.gates.types import Noun

UNSOUND = {
    Kind.ARTIFACT_CHANGED,
    Kind.ARTIFACT_MISSING,
    Kind.VERSION_MISSING,
    Kind.NOT_ERASED,
}
Changes = dict[str, dict[str, str | None]]


class Plan(Noun):
    """What one repair sets, named by the act that it is in the ledger."""

    decision_id: Annotated[str, Field(pattern=r"^repair-[0-9a-f]{20}$")]
    aliases: dict[str, str | None]
    tags: Changes

    def covers(self, aliases: Mapping[str, str | None], tags: Changes) -> bool:
        """Whether these changes are what is left of the plan."""
        return aliases.items() <= self.aliases.items() and all(
            version in self.tags and changes.items() <= self.tags[version].items()
            for version, changes in tags.items()
        )


class Repaired(Noun):
    """What a repair set."""

    model: str
    statement: str
    aliases: dict[str, str | None]
    tags: Changes


def repair(
    home: Home, model: str, now: datetime, tracking_uri: str | None = None
) -> Repaired | None:
    """Put one model line back; None if there was nothing that a repair may set.

    Raises Unreconciled, before anything is done, if a version that an alias must go to has
    changed files, is gone, or may not serve.
    """
    if not ledger_says(home, model).versions:
        return None
    with one_at_a_time(home, model):
        must = ledger_says(home, model)
        findings = compare(home, model, tracking_uri).findings
        try:
            registry = Registry.open(home, tracking_uri)
            aliases, tags = _changes(home, registry, must)
            kept = _kept(home, model)
            if kept is not None and not kept.covers(aliases, tags):
                kept = None
            if not aliases and not tags and kept is None:
                return None
            for target in {must.now.champion, must.previous, must.now.anchor} - {None}:
                deleting = must.holds(target) and must.versions[str(target)].erasing
                unsound = UNSOUND | ({Kind.UNFINISHED} if deleting else set())
                wrong = [f for f in findings if f.version == target and f.kind in unsound]
                if wrong or not must.holds(target):
                    why = wrong[0].what if wrong else "it may not serve"
                    raise Unreconciled(
                        f"version {target} of {model!r} is not put back: {why}. Roll back to "
                        f"one that is whole: tidegate rollback --model {model} --to VERSION"
                    )
            plan = kept or Plan(
                decision_id=f"repair-{uuid.uuid4().hex[:20]}", aliases=aliases, tags=tags
            )
            path = home.updates / f"{model}.repair.json"
            durable.replace(path, plan.model_dump_json().encode())
            written = _record(home, must, plan, now)
            registry.put_back(model, aliases, tags, statement=written)
        except RegistryError as no:
            raise Unreconciled(f"{model!r} could not be repaired: {no}") from no
        path.unlink()
        return Repaired(model=model, statement=written, aliases=plan.aliases, tags=plan.tags)


def _changes(
    home: Home, registry: Registry, must: Expected
) -> tuple[dict[str, str | None], Changes]:
    """What differs, without what a killed update or waiver will set when it is run again."""
    finished, found = finished_in(home), registry.aliases(must.model)
    begun = must.moved_act != "rollback" and unfinished(must, found, finished)
    aliases = {} if begun else alias_changes(must, found)
    tags: Changes = {}
    for version in registry.versions(must.model):
        said = must.versions.get(version.version)
        if said is None or said.erased:
            continue
        overwritten = any(
            finding.kind is Kind.TAG_OVERWRITTEN
            for finding in tag_findings(must, said, version, finished)
        )
        if overwritten:
            tags[version.version] = tag_changes(said, version.tags)
    return aliases, tags


def _kept(home: Home, model: str) -> Plan | None:
    """The plan of a repair that was killed."""
    try:
        return Plan.model_validate_json((home.updates / f"{model}.repair.json").read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def _record(home: Home, must: Expected, plan: Plan, now: datetime) -> str:
    champion = must.now.champion
    said = must.versions[champion] if champion else next(iter(must.versions.values()))
    return Ledger(home.ledger).append(
        statement(
            act="repair",
            model=must.model,
            subjects={
                "adapter" if said.adapter else "base": said.adapter or said.subjects["base"]
            },
            about={
                "decision_id": plan.decision_id,
                "by": login_name(),
                "version": said.version,
                "aliases": plan.aliases,
                "tags": plan.tags,
                "reason": "the registry was not what the ledger says",
            },
            decided_at=now,
        )
    )
