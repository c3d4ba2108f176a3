"""Deciding about a version again, from its stored evidence, with waivers.

    check the waivers → decide again → record → review page → promote

Nothing is trained or measured, and no ruling gets another outcome. In this order, each step
safe to repeat after a crash:

 1. every waiver counts, now, for this version; one that does not stops all of them;
 2. the version's files are what was registered, and its evidence what was recorded;
 3. the champion is still the one that the version was compared with;
 4. the waivers are kept, then the new statement is in the ledger, naming them and the
    statement that it supersedes;
 5. tags, review page and report say so;
 6. only if the decision is now to promote: its rows are kept for replay, and `champion` moves.
"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from tidegate.flows.deciding.again import (
    Again,
    act,
    record_again,
    refuse_changed,
    refuse_stale,
    stored_result,
)
from tidegate.flows.deciding.version import Decided, decided
from tidegate.flows.home import Home
from tidegate.flows.ledger import Ledger
from tidegate.flows.locks import one_at_a_time
from tidegate.flows.registry import Registry
from tidegate.flows.waiving.waivers import (
    WaiverCheck,
    WaiverError,
    check_for,
    kept_path,
    read,
    write,
)
from tidegate.gates.types import Action, Decision, Digest, Noun
from tidegate.gates.waiver import NotWaivable, Waiver, redecide


class Applied(Noun):
    """What waivers made of a decision."""

    model: str
    version: str
    before: Action
    decision: Decision
    waivers: tuple[Digest, ...]
    statement: Digest
    supersedes: Digest
    report: Path

    @property
    def exit_code(self) -> int:
        return {Action.PROMOTE: 0, Action.REJECT: 1, Action.HOLD: 2}[self.decision.action]


def apply_waivers(
    home: Home,
    model: str,
    version: str,
    files: Sequence[Path],
    *,
    now: datetime,
    tracking_uri: str | None = None,
) -> Applied:
    """Decide about a version (or an alias's) again with these waivers, and act on it.

    Run again with the same waivers: the same statement, nothing twice. Raises WaiverError
    with every reason if a waiver does not count, RegistryError if the version is stale.
    """
    registry = Registry.open(home, tracking_uri)
    number = registry.aliases(model).get(version, version)
    with one_at_a_time(home, model):
        about = decided(home, model, number)
        checks = [check_for(home, about, model, read(path), path, now) for path in files]
        refused = [f"{c.path}: {reason}" for c in checks for reason in c.reasons]
        if refused or not checks:
            raise WaiverError("; ".join(refused) or "no waiver was given")
        waivers = tuple(c.waiver for c in checks if c.waiver is not None)
        try:
            decision = redecide(about.past.policy, about.rulings, waivers)
        except NotWaivable as no:
            raise WaiverError(str(no)) from None
        decision_id = _decision_id(about, waivers)
        mine = about.decision_id == decision_id
        _refuse_decided(home, model, about, decision_id, mine)
        refuse_stale(home, registry, model, about, mine)
        refuse_changed(registry, model, about)
        result = stored_result(home, about)

        for check, path in zip(checks, files, strict=True):
            write(kept_path(home, str(check.digest)), read(path))
        written, record = record_again(
            home,
            model,
            about.past.entry,
            decision_id=decision_id,
            decision=decision,
            subjects={f"waiver/{waiver.gate}": waiver.digest for waiver in waivers},
            said={"waivers": [_counted(check) for check in checks]},
            supersedes=about.latest.statement,
            now=now,
        )
        papers = {"waivers": [kept_path(home, waiver.digest) for waiver in waivers]}
        again = Again(about, decision, written, record, papers)
        report = act(home, registry, model, again, result)
        return Applied(
            model=model,
            version=number,
            before=about.past.entry.action,
            decision=decision,
            waivers=tuple(waiver.digest for waiver in waivers),
            statement=written,
            supersedes=record["predicate"]["about"]["supersedes"],
            report=report,
        )


def show_applied(console: Console, applied: Applied) -> None:
    console.print(
        f"{escape(applied.model)} version {applied.version}: {applied.before} → "
        f"[bold]{applied.decision.action}[/], with {len(applied.waivers)} waivers",
        highlight=False,
    )
    for ruling in applied.decision.rulings:
        if ruling.waived or ruling.action is not Action.PROMOTE:
            mark = "  waived" if ruling.waived else ""
            console.print(
                f"  {ruling.verdict.outcome} → {ruling.action}  {escape(ruling.title)}{mark}",
                highlight=False,
            )
    console.print(f"  statement  {applied.statement}", highlight=False)
    console.print(f"  report     {escape(str(applied.report))}", highlight=False)


def _decision_id(about: Decided, waivers: Sequence[Waiver]) -> str:
    """The same waivers on the same update are the same decision, in whatever order."""
    return " + ".join([about.past.entry.update_id, *sorted(w.digest for w in waivers)])


def _refuse_decided(
    home: Home, model: str, about: Decided, decision_id: str, mine: bool
) -> None:
    number = about.past.entry.version
    for _, record in Ledger(home.ledger).read():
        predicate = record["predicate"]
        ours = predicate["model"] == model and predicate["about"]["decision_id"] == decision_id
        if ours and not mine:
            raise WaiverError(
                f"version {number} was decided with these very waivers and then again, by "
                f"{about.latest.statement}; write new ones"
            )
    if about.latest.action is Action.PROMOTE and not mine:
        raise WaiverError(f"version {number} of {model!r} was promoted already")
    people = about.latest.record["predicate"]["about"]
    if people.get("refusals") and not mine:
        raise WaiverError(
            f"version {number} was refused by reviewers; a waiver changes no mind"
        )


def _counted(check: WaiverCheck) -> dict[str, Any]:
    waiver = check.waiver
    if waiver is None:
        raise WaiverError(f"{check.path}: no waiver")
    return {
        "digest": waiver.digest,
        "gate": waiver.gate,
        "reason": waiver.reason,
        "ticket": waiver.ticket,
        "requester": waiver.requester,
        "signers": sorted(check.signers),
        "expires": waiver.model_dump(mode="json")["expires_at"],
    }
