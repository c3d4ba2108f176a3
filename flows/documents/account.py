"""What the documents say about one version: its statement, and the evidence that it names.

Everything is held against the signed ledger first. Only the name and the license of the base
are not in it; the registry hands them out with the digest that the statement names.

The same statements about a version make the same account, whatever else is in the ledger. It
has counts of what was learned from, and no place for a record, its text or its author.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tidegate.flows.chain import Entry as Line
from tidegate.flows.home import Home
from tidegate.flows.ledger import Ledger
from tidegate.flows.looking_back.history import (
    Entry,
    Lost,
    Past,
    Ruled,
    entry_of,
    read_past,
    read_stored,
)
from tidegate.flows.provenance import Environment
from tidegate.flows.registry import BaseCard, Registry, RegistryError
from tidegate.flows.reviewing.comparisons import Comparison, Uncompared, compare
from tidegate.flows.usage import UsageError
from tidegate.gates.audit import BrokenLedger
from tidegate.gates.types import Action, Measurement, Outcome

ROLES = ("candidate", "champion", "anchor")


@dataclass(frozen=True)
class Act:
    """One statement of the ledger about the version."""

    index: int
    statement: str
    act: str
    action: str
    at: str


@dataclass(frozen=True)
class Metric:
    """One metric of one suite: its mean on each model, and its changes, by baseline."""

    name: str
    n: int
    values: Mapping[str, Measurement]
    changes: Mapping[str, Comparison]


@dataclass(frozen=True)
class Account:
    """One decided version. `past.entry` is the statement in force about it."""

    model: str
    index: int  # of that statement in the ledger
    past: Past = field(repr=False)
    base: BaseCard
    recipe: Mapping[str, Any]
    environment: Environment | None  # None: decided before it was kept with the evidence
    acts: tuple[Act, ...]

    @property
    def entry(self) -> Entry:
        return self.past.entry

    @property
    def version(self) -> str:
        return self.entry.version

    @property
    def about(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.entry.record["predicate"]["about"]
        return found

    @property
    def parent(self) -> str:
        """The version that it was continued from; compared with too, if nobody taught it."""
        return str(self.about.get("continues", self.about["parent"]))

    @property
    def kind(self) -> str:
        """What the adapter is."""
        return "cartridge" if "cartridge" in self.recipe else "LoRA adapter"

    @property
    def shape(self) -> Mapping[str, float]:
        """The numbers that say how large it is."""
        if "cartridge" in self.recipe:
            return {"tokens": self.recipe["cartridge"]["tokens"]}
        return {"rank": self.recipe["rank"], "alpha": self.recipe["alpha"]}

    @property
    def teacher(self) -> str | None:
        """Of a consolidation: the version that it was compared with and answers like."""
        return str(self.about["parent"]) if "continues" in self.about else None

    @property
    def action(self) -> Action:
        return self.entry.action

    @property
    def rulings(self) -> tuple[Ruled, ...]:
        return self.entry.rulings

    @property
    def passed(self) -> int:
        return sum(ruled.outcome is Outcome.PASS for ruled in self.rulings)

    @property
    def waivers(self) -> tuple[Mapping[str, Any], ...]:
        return tuple(self.about.get("waivers", ()))

    @property
    def answers(self) -> tuple[tuple[str, Mapping[str, Any]], ...]:
        """What reviewers said about it when it was held: the word, and who, why, until when."""
        words = (("approved", "approvals"), ("refused", "refusals"))
        return tuple((word, one) for word, kind in words for one in self.about.get(kind, ()))

    @property
    def adapter(self) -> str | None:
        """None: the update ended without weights."""
        return self.entry.subject("adapter")

    @property
    def subjects(self) -> dict[str, str]:
        """The digest of everything that the statement is about, by name."""
        names = [said["name"] for said in self.entry.record["subject"]]
        return {name: self.entry.subject(name) or "" for name in names}

    @property
    def kept(self) -> int | None:
        """Rows that were left to learn from; None if nobody counted."""
        found = [m for m in self.past.evidence_data.measurements if m.name == "data.kept"]
        return int(found[0].value) if found else None

    @property
    def replayed(self) -> int:
        """Zero where nothing was drawn; a draw without its number of rows is an error."""
        drawn = self.about.get("replay")
        return int(drawn["rows"]) if drawn else 0

    @cached_property
    def compared(self) -> tuple[tuple[Comparison, ...], tuple[Uncompared, ...]]:
        evidence = self.past.evidence_model
        return compare(self.past.policy, evidence) if evidence else ((), ())

    @cached_property
    def metrics(self) -> tuple[Metric, ...]:
        """What was measured, in the order of measuring."""
        evidence = self.past.evidence_model
        values: dict[str, dict[str, Measurement]] = {}
        for found in evidence.measurements if evidence else ():
            name, _, role = found.name.partition("@")
            if role in ROLES:
                values.setdefault(name, {})[role] = found
        return tuple(
            Metric(
                name=name,
                n=max(m.n for m in by_role.values()),
                values=by_role,
                changes={c.than: c for c in self.compared[0] if c.name == name},
            )
            for name, by_role in values.items()
        )


def find_account(
    home: Home, model: str, version: str, tracking_uri: str | None = None
) -> Account:
    """The account of a version, or of what an alias points at.

    Raises RegistryError if there is no such version or its files are not those that were
    decided about, and what `account_of` raises.
    """
    registry = Registry.open(home, tracking_uri)
    number = registry.aliases(model).get(version, version)
    found = registry.load(model, number)
    made = account_of(home, model, number, found.base)
    if found.candidate.adapter != made.adapter:
        raise RegistryError(
            f"version {number} of {model!r} holds {found.candidate.adapter} in the registry, "
            f"and its statement is about {made.adapter}: do not serve it"
        )
    return made


def account_of(home: Home, model: str, number: str, base: BaseCard) -> Account:
    """The account of a version by its number.

    Raises UsageError if no update was decided about it, and BrokenLedger if ledger or
    evidence are not what was written.
    """
    about = [line for line in Ledger(home.ledger).entries() if _concerns(line, model, number)]
    decisions = [line for line in about if line.record["predicate"]["act"] == "decide"]
    if not decisions:
        raise UsageError(
            f"the ledger {home.ledger} has no decision about version {number} of {model!r}: "
            "documents are about a version that an update made"
        )
    latest = decisions[-1]
    if latest.keyid is None:
        raise UsageError(
            f"the statement {latest.digest} was written before statements were signed, so "
            "nobody could verify a document about it; run the update again"
        )
    past = read_past(home, entry_of(latest.digest, latest.record))
    if isinstance(past, Lost):
        raise BrokenLedger(past.why)
    if "parent" not in latest.record["predicate"]["about"]:
        raise BrokenLedger(
            f"the statement {latest.digest} does not say what version {number} continues from"
        )
    if base.digest != past.entry.subject("base"):
        raise RegistryError(
            f"version {number} of {model!r} stands on {base.digest} in the registry, and its "
            f"statement is about {past.entry.subject('base')}: do not serve it"
        )
    return Account(
        model=model,
        index=latest.index,
        past=past,
        base=base,
        recipe=read_stored(home, past.entry, "recipe", "recipe"),
        environment=_environment(home, past.entry),
        acts=tuple(_act(line) for line in about),
    )


def _concerns(line: Line, model: str, number: str) -> bool:
    predicate = line.record["predicate"]
    said = predicate["about"]
    # Of a rollback, `was` is the version that had to go.
    return predicate["model"] == model and number in (said.get("version"), said.get("was"))


def _act(line: Line) -> Act:
    predicate = line.record["predicate"]
    said = predicate["about"]
    action = str(said.get("action", ""))
    if predicate["act"] == "rollback":
        action = f"from version {said.get('was')} to version {said.get('version')}"
    return Act(line.index, line.digest, predicate["act"], action, predicate["decidedAt"])


def _environment(home: Home, entry: Entry) -> Environment | None:
    path = home.updates / entry.update_id / "evidence" / "environment.json.gz"
    if not path.exists():
        return None
    found = read_stored(home, entry, "environment", "environment")
    return Environment.model_validate({**found, "packages": tuple(found["packages"])})
