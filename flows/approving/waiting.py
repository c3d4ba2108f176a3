"""What waits for people: since when, what is missing, and which tags ask.

A tag `gov.request = approve`, which anybody can set in MLflow's UI, asks and never decides: it
is shown here, and read nowhere else.
"""

from collections.abc import Iterator
from datetime import datetime

from pydantic import AwareDatetime
from rich.console import Console
from rich.markup import escape

from tidegate.flows.approving.cases import Case, names_of, open_case
from tidegate.flows.deciding.again import refuse_changed, refuse_stale
from tidegate.flows.deciding.version import about
from tidegate.flows.home import Home
from tidegate.flows.ledger import Ledger
from tidegate.flows.looking_back.history import Entry, entry_of
from tidegate.flows.registry import Registry, RegistryError
from tidegate.flows.reviewing.wording import clean
from tidegate.flows.usage import UsageError
from tidegate.gates.approval import not_approvable
from tidegate.gates.audit import BrokenLedger
from tidegate.gates.types import Action, Digest, Noun

REQUEST_TAG = "gov.request"
KNOWN = ("approve", "refuse")


class Waiting(Noun):
    """A version that is held, or that somebody asks about."""

    model: str
    version: str
    decision: Digest
    action: Action
    since: AwareDatetime
    asks: str | None  # what the tag asks for: approve, refuse, or another word
    requester: str
    approved_by: tuple[str, ...] = ()
    missing: int = 0  # approvals
    roles: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()  # why no approval would promote it

    @property
    def can_be_approved(self) -> bool:
        return not self.reasons


def waiting(
    home: Home, model: str | None, now: datetime, tracking_uri: str | None = None
) -> tuple[Waiting, ...]:
    """Of one model line or all, those that can be approved first, then by age.

    Raises BrokenLedger if the ledger is not what was written.
    """
    registry = Registry.open(home, tracking_uri)
    latest: dict[tuple[str, str], Entry] = {}
    for digest, record in Ledger(home.ledger).read():
        predicate = record["predicate"]
        if predicate["act"] == "decide" and model in (None, predicate["model"]):
            entry = entry_of(digest, record)
            latest[predicate["model"], entry.version] = entry
    found = []
    for line in sorted({name for name, _ in latest}):
        asks = dict(_asking(registry, line))
        for (name, version), entry in latest.items():
            if name == line and (entry.action is Action.HOLD or version in asks):
                found.append(_waiting(home, registry, line, entry, asks.get(version), now))
    return tuple(sorted(found, key=lambda one: (bool(one.reasons), one.since, one.model)))


def show_waiting(console: Console, found: tuple[Waiting, ...]) -> None:
    for one in found:
        asks = f"; a tag asks: {one.asks}" if one.asks else ""
        console.print(
            f"[bold]{escape(one.model)} version {one.version}[/]: {one.action} since "
            f"{one.since:%Y-%m-%d %H:%M} UTC, asked for by {escape(clean(one.requester))}{asks}",
            highlight=False,
        )
        if one.approved_by:
            console.print(
                f"  approved by {escape(', '.join(one.approved_by))}", highlight=False
            )
        if one.can_be_approved:
            who = escape(" or ".join(one.roles))
            console.print(f"  waits for {one.missing} of {who}", highlight=False)
        for reason in one.reasons:
            console.print(f"  ✗ {escape(clean(reason))}", highlight=False)
    if not found:
        console.print("nothing waits for a person")


def _asking(registry: Registry, model: str) -> Iterator[tuple[str, str]]:
    for version in registry.versions(model):
        word = version.tags.get(REQUEST_TAG)
        if word is not None:
            known = word.strip().casefold()
            yield version.version, known if known in KNOWN else "another word"


def _waiting(
    home: Home, registry: Registry, model: str, entry: Entry, asks: str | None, now: datetime
) -> Waiting:
    known = Waiting(
        model=model,
        version=entry.version,
        decision=entry.statement,
        action=entry.action,
        since=entry.decided_at,
        asks=asks,
        requester=str(about(entry).get("requester", "nobody knows")),
    )
    try:
        case = open_case(home, model, entry.version)
        names = names_of(case.answers(now), "approve")
        reasons = tuple(_reasons(home, registry, case))
    except (RegistryError, UsageError, BrokenLedger) as no:
        return known.model_copy(update={"reasons": (str(no),)})
    rule, held = case.policy.approval, entry.action is Action.HOLD
    return known.model_copy(
        update={
            "approved_by": names,
            "missing": max(0, rule.quorum - len(names)) if held else 0,
            "roles": rule.roles,
            "reasons": reasons,
        }
    )


def _reasons(home: Home, registry: Registry, case: Case) -> Iterator[str]:
    if case.settled is not None:
        yield "people answered already"
        return
    if case.entry.action is not Action.HOLD:
        yield f"it is not held: the decision is {case.entry.action}"
        return
    yield from not_approvable(case.policy, case.rulings)
    if not case.policy.reviewers:
        yield "its policy names no reviewers"
    refuse_stale(home, registry, case.model, case.version, mine=False)
    refuse_changed(registry, case.model, case.version)
