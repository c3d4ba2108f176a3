"""A model line: its base, its registry, its ledger, and the versions that serve as baselines.

Every flow opens the line first. Opening it for the first time blesses the bare base as the
first version, champion and anchor; that act has a statement too.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tidegate.flows.home import Home
from tidegate.flows.ledger import Ledger
from tidegate.flows.reconciling.serving import (
    ledger_says,
    require_aliases,
    require_recorded,
)
from tidegate.flows.registry import (
    ANCHOR,
    CHAMPION,
    ModelVersionInfo,
    Registry,
    RegistryError,
)
from tidegate.flows.tracing.steps import read_steps
from tidegate.gates.audit import statement
from tidegate.gates.types import Action, Report, ignore_progress
from tidegate.training.base import Base, find_base
from tidegate.training.recipe import Recipe


@dataclass(frozen=True)
class Line:
    """One model line, opened and checked: both baselines' files are what was registered."""

    name: str
    home: Home
    base: Base
    registry: Registry
    ledger: Ledger
    champion: ModelVersionInfo
    anchor: ModelVersionInfo

    def lineage(self) -> tuple[str, ...]:
        """The batches that the champion learned from, newest first."""
        return self._tags("gov.batch_digest")

    def past_updates(self) -> tuple[str, ...]:
        """The ids of the updates that the champion went through, newest first."""
        return self._tags("gov.update_id")

    def accepted(self, recipe: Recipe) -> tuple[Path, ...]:
        """What a warm start is made of: the champion's adapter first; () if none is asked for."""
        return accepted_adapters(
            self.home, self.registry, self.name, self.champion.version, recipe
        )

    def _tags(self, name: str) -> tuple[str, ...]:
        """What the champion and the versions that led to it say, newest first.

        Of versions that learned from a batch: the base was blessed and learned nothing, and a
        consolidation nothing that the versions which it was compared with and taught by did not.
        """
        steps = read_steps(self.home)
        taught = {v for (model, v), s in steps.items() if model == self.name and s.teacher}
        versions = {v.version: v for v in self.registry.versions(self.name)}
        found: list[str] = []
        at: str | None = self.champion.version
        while at is not None:
            if at not in versions:
                raise RegistryError(
                    f"version {at} of {self.name!r} is in the champion's lineage and gone; "
                    "restore it in MLflow"
                )
            tags = versions[at].tags
            if "gov.batch_digest" in tags and at not in taught:
                found.append(tags[name])
            at = tags.get("gov.parent")
        return tuple(found)


def open_line(
    name: str,
    base_name: str,
    home: Home,
    tracking_uri: str | None = None,
    progress: Report = ignore_progress,
) -> Line:
    """Open a model line, blessing its base if this is the first time.

    Raises BaseError or RegistryError, each with what would do, and Unreconciled if champion or
    anchor are not what the ledger says: then nobody may continue from them, or measure by them.
    """
    base = find_base(base_name, home.cache, progress)
    registry = Registry.open(home, tracking_uri)
    ledger = Ledger(home.ledger)
    registry.ensure_model(name)
    must = ledger_says(home, name)
    missing = {CHAMPION, ANCHOR} - registry.aliases(name).keys()
    if missing and (not must.versions or must.only_blessed):
        _bless(name, base, registry, ledger)  # again, if it was killed in between
        must = ledger_says(home, name)
    require_aliases(home, registry, must)
    champion, anchor = registry.champion(name), registry.anchor(name)
    if champion is None or anchor is None:
        raise RegistryError(f"{name!r} lost an alias while it was opened; look in MLflow")
    if champion.candidate.base != base.digest:
        raise RegistryError(
            f"{name!r} stands on another base than {base.name} ({base.digest}); give the new "
            "model line a name of its own with --model"
        )
    for served in (champion, anchor):
        require_recorded(must, served)
    return Line(name, home, base, registry, ledger, champion, anchor)


def accepted_adapters(
    home: Home, registry: Registry, model: str, version: str, recipe: Recipe
) -> tuple[Path, ...]:
    """Adapters of a version and of those it continues from, newest first, as many as are asked for.

    Who continues from whom is the ledger's to say, and each is checked as what serves is. Raises
    RegistryError and Unreconciled.
    """
    most = recipe.reptile.last if recipe.reptile else 0
    must = ledger_says(home, model)
    found: list[Path] = []
    at: str | None = version
    while at is not None and len(found) < most:
        one = registry.load(model, at)
        require_recorded(must, one)
        if one.adapter is not None:  # the base has none
            found.append(one.adapter)
        at = must.versions[at].parent
    return tuple(found)


def line_names(home: Home) -> set[str]:
    """The model lines that the ledger knows."""
    return Ledger(home.ledger).model_lines()


def _bless(name: str, base: Base, registry: Registry, ledger: Ledger) -> None:
    record = statement(
        act="bless",
        model=name,
        subjects={"base": base.digest},
        about={
            "decision_id": f"bless {name} {base.digest}",
            "action": Action.PROMOTE,
            "base": base.name,
            "reason": "the base as released: champion until an update is promoted, and "
            "the anchor that small losses are added up against",
        },
        decided_at=datetime.now(UTC),
    )
    written = ledger.append(record)
    registry.bless_base(
        name, base.name, base.digest, base.license or "unknown", statement=written
    )
