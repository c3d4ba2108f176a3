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

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape

from tidegate.flows import learned, replay_store
from tidegate.flows.check import decision_document
from tidegate.flows.documents.account import account_of
from tidegate.flows.documents.write import write_documents
from tidegate.flows.home import Home
from tidegate.flows.ledger import Ledger
from tidegate.flows.locks import one_at_a_time
from tidegate.flows.looking_back.history import Entry
from tidegate.flows.one_update import UpdateResult
from tidegate.flows.registry import Registry, RegistryError
from tidegate.flows.reviewing.waived import render_waived, waived_page
from tidegate.flows.waiving.waivers import (
    Decided,
    WaiverCheck,
    WaiverError,
    check_for,
    decided,
    kept_path,
    read,
    write,
)
from tidegate.gates.audit import BrokenLedger, Statement, statement
from tidegate.gates.types import Action, Decision, Digest, Noun, Ruling
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
        checks = [check_for(about, model, read(path), path, now) for path in files]
        refused = [f"{c.path}: {reason}" for c in checks for reason in c.reasons]
        if refused or not checks:
            raise WaiverError("; ".join(refused) or "no waiver was given")
        waivers = tuple(c.waiver for c in checks if c.waiver is not None)
        try:
            decision = redecide(about.past.policy, about.rulings, waivers)
        except NotWaivable as no:
            raise WaiverError(str(no)) from None
        decision_id = _decision_id(about, waivers)
        _refuse_stale(home, registry, model, about, decision_id)
        _refuse_changed(registry, model, about)
        result = _stored_result(home, about)

        for check, path in zip(checks, files, strict=True):
            write(kept_path(home, str(check.digest)), read(path))
        ledger = Ledger(home.ledger)
        written = ledger.append(_statement(model, about, decision, checks, decision_id, now))
        record = ledger.find(written)
        if record is None:
            raise BrokenLedger(f"{ledger.path}: the statement {written} is gone")
        report = _present(home, registry, model, about, decision, waivers, (written, record))
        if decision.action is Action.PROMOTE:
            kept = home.updates / about.past.entry.update_id / "check" / "kept.parquet"
            replay_store.remember(home, about.past.batch.digest, kept)
            learned.remember(home, about.past.batch.digest, kept)
            registry.promote(model, number, was=_parent(about), statement=written)
        _remember_result(home, about, result, decision, written, report)
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


def _refuse_stale(
    home: Home, registry: Registry, model: str, about: Decided, decision_id: str
) -> None:
    number, parent = about.past.entry.version, _parent(about)
    mine = about.decision_id == decision_id
    for _, record in Ledger(home.ledger).read():
        predicate = record["predicate"]
        said = predicate["about"]
        if predicate["model"] != model:
            continue
        if predicate["act"] == "rollback" and said.get("was") == number:
            raise RegistryError(
                f"version {number} of {model!r} was rolled back; waivers do not bring it "
                "back: run the update again"
            )
        if said["decision_id"] == decision_id and not mine:
            raise WaiverError(
                f"version {number} was decided with these very waivers and then again, by "
                f"{about.latest.statement}; write new ones"
            )
    if about.latest.action is Action.PROMOTE and not mine:
        raise WaiverError(f"version {number} of {model!r} was promoted already")
    champion = registry.aliases(model).get("champion")
    if champion not in ({parent, number} if mine else {parent}):
        raise RegistryError(
            f"version {number} of {model!r} was compared with version {parent}, and version "
            f"{champion} serves by now: the evidence is stale. Run the update again"
        )


def _refuse_changed(registry: Registry, model: str, about: Decided) -> None:
    """The files that would serve are those that were judged."""
    entry = about.past.entry
    found = registry.load(model, entry.version).candidate
    if found.digest != about.candidate or found.base != entry.subject("base"):
        raise RegistryError(
            f"version {entry.version} of {model!r} is {found.digest} on {found.base} in the "
            f"registry; decided was about {about.candidate}: do not serve it"
        )


def _statement(
    model: str,
    about: Decided,
    decision: Decision,
    checks: Sequence[WaiverCheck],
    decision_id: str,
    now: datetime,
) -> Statement:
    entry = about.past.entry
    first = entry.record["predicate"]["about"]
    subjects = {
        subject["name"]: "".join(f"{how}:{value}" for how, value in subject["digest"].items())
        for subject in entry.record["subject"]
    }
    for check in checks:
        if check.waiver is not None:
            subjects[f"waiver/{check.waiver.gate}"] = check.waiver.digest
    recorded = {said["gate"]: said for said in first["rulings"]}
    return statement(
        act="decide",
        model=model,
        subjects=subjects,
        about={
            **first,
            "decision_id": decision_id,
            "update_id": entry.update_id,
            "action": decision.action,
            "rulings": [_ruling(r, recorded.get(r.title, {})) for r in decision.rulings],
            "waivers": [_counted(check) for check in checks],
            "supersedes": about.latest.statement,
        },
        decided_at=now,
    )


def _ruling(ruling: Ruling, recorded: Mapping[str, Any]) -> dict[str, Any]:
    """As first recorded, numbers included; only what happens next is new."""
    new = {
        "gate": ruling.title,
        "outcome": ruling.verdict.outcome,
        "observed": None,
        "limit": None,
        "reason": ruling.verdict.reason,
    }
    said = {**new, **recorded, "action": ruling.action}
    return {**said, "waived": ruling.waived} if ruling.waived else said


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


def _present(
    home: Home,
    registry: Registry,
    model: str,
    about: Decided,
    decision: Decision,
    waivers: Sequence[Waiver],
    written: tuple[str, Statement],
) -> Path:
    digest, record = written
    entry = about.past.entry
    run_id = registry.find(model, entry.version).run_id
    work = home.updates / entry.update_id
    counted = record["predicate"]["about"]["waivers"]
    decided_at = datetime.fromisoformat(record["predicate"]["decidedAt"])
    page = work / "report" / "waived.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(
        render_waived(model, entry.version, decision, counted, decided_at, digest),
        encoding="utf-8",
    )
    registry.runs.log_file(run_id, page, "report")
    account = account_of(home, model, entry.version, registry.load(model, entry.version).base)
    documents = write_documents(account, work / "documents").folder
    registry.runs.log_file(run_id, documents, "documents")
    for waiver in waivers:
        registry.runs.log_file(run_id, kept_path(home, waiver.digest), "waivers")
    text = waived_page(
        model,
        entry.version,
        decision,
        counted,
        digest,
        run_id,
        registry.runs.experiment_of(run_id),
    )
    verdict = {"gov.verdict": str(decision.action)}
    registry.runs.tag(run_id, {"mlflow.note.content": text, **verdict})
    digests = " ".join(waiver.digest for waiver in waivers)
    tags = {**verdict, "gov.statement": digest, "gov.waivers": digests}
    registry.annotate(model, entry.version, tags, text)
    return page


def _parent(about: Decided) -> str:
    return str(about.past.entry.record["predicate"]["about"]["parent"])


def _stored_result(home: Home, about: Decided) -> UpdateResult:
    entry: Entry = about.past.entry
    path = home.updates / entry.update_id / "result.json"
    try:
        return UpdateResult.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        raise WaiverError(
            f"{path}: the update of version {entry.version} was never finished; run it again "
            "first, it goes on where it stopped"
        ) from None


def _remember_result(
    home: Home,
    about: Decided,
    result: UpdateResult,
    decision: Decision,
    written: str,
    report: Path,
) -> None:
    """What `tidegate update` finds when it is asked the same again."""
    past = about.past
    quarantined = past.entry.record["predicate"]["about"]["quarantined"]
    renewed = result.model_copy(
        update={
            "decision": decision,
            "document": decision_document(decision, past.policy, past.batch, quarantined),
            "statement": written,
            "report": report,
        }
    )
    path = home.updates / past.entry.update_id / "result.json"
    write(path, renewed.model_dump_json().encode())
