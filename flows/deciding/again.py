"""What follows when people decide about a version again: record, page, promotion.

    refuse what is stale or changed → statement → review page → promote → result

Nothing is trained or measured, and no ruling gets another outcome. Each step is safe to repeat
after a crash: the statement is written once for its decision id, and the rest is found done.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tidegate.flows import durable, learned, replay_store
from tidegate.flows.check import decision_document
from tidegate.flows.deciding.version import Decided, Undecidable, about
from tidegate.flows.documents.account import account_of
from tidegate.flows.documents.write import write_documents
from tidegate.flows.home import Home
from tidegate.flows.ledger import Ledger
from tidegate.flows.looking_back.history import Entry
from tidegate.flows.one_update import UpdateResult
from tidegate.flows.reconciling.serving import ledger_says, require_aliases
from tidegate.flows.registry import Registry, RegistryError
from tidegate.flows.reviewing.again import decided_page, render_decided
from tidegate.flows.standing import why_never_again
from tidegate.gates.audit import BrokenLedger, Statement, statement
from tidegate.gates.types import Action, Decision, Ruling


@dataclass(frozen=True)
class Again:
    """A decision about a version that people made, and the files by which they did."""

    version: Decided
    decision: Decision
    statement: str
    record: Statement
    papers: Mapping[str, Sequence[Path]]  # by folder of the run in MLflow


def refuse_stale(
    home: Home, registry: Registry, model: str, version: Decided, mine: bool
) -> None:
    """Raise RegistryError unless the version may replace the champion it was compared with,
    and Unreconciled if that is the champion by an alias alone, and not by the ledger.

    mine: the statement in force is the very one that is being finished.
    """
    number, parent = version.past.entry.version, version.parent
    never = why_never_again(home, model, number)
    if never is not None:
        raise RegistryError(never)
    champion = registry.aliases(model).get("champion")
    if champion not in ({parent, number} if mine else {parent}):
        raise RegistryError(
            f"version {number} of {model!r} was compared with version {parent}, and version "
            f"{champion} serves by now: the evidence is stale. Run the update again"
        )
    require_aliases(home, registry, ledger_says(home, model))


def refuse_changed(registry: Registry, model: str, version: Decided) -> None:
    """Raise RegistryError unless the files that would serve are those that were judged."""
    entry = version.past.entry
    found = registry.load(model, entry.version).candidate
    if found.digest != version.candidate or found.base != entry.subject("base"):
        raise RegistryError(
            f"version {entry.version} of {model!r} is {found.digest} on {found.base} in the "
            f"registry; decided was about {version.candidate}: do not serve it"
        )


def record_again(
    home: Home,
    model: str,
    entry: Entry,
    *,
    decision_id: str,
    decision: Decision,
    subjects: Mapping[str, str],
    said: Mapping[str, Any],
    supersedes: str,
    now: datetime,
) -> tuple[str, Statement]:
    """Write the decision into the ledger, with all that `entry` says and what is new."""
    named = {one["name"]: entry.subject(one["name"]) or "" for one in entry.record["subject"]}
    recorded = {one["gate"]: one for one in about(entry)["rulings"]}
    ledger = Ledger(home.ledger)
    written = ledger.append(
        statement(
            act="decide",
            model=model,
            subjects={**named, **subjects},
            about={
                **about(entry),
                "decision_id": decision_id,
                "update_id": entry.update_id,
                "action": decision.action,
                "rulings": [_ruling(r, recorded.get(r.title, {})) for r in decision.rulings],
                **said,
                "supersedes": supersedes,
            },
            decided_at=now,
        )
    )
    record = ledger.find(written)
    if record is None:
        raise BrokenLedger(f"{ledger.path}: the statement {written} is gone")
    return written, record


def stored_result(home: Home, version: Decided) -> UpdateResult:
    """What the update came to; raises Undecidable if it was never finished."""
    path = _result(home, version)
    try:
        return UpdateResult.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        raise Undecidable(
            f"{path}: the update of version {version.past.entry.version} was never finished; "
            "run it again first, it goes on where it stopped"
        ) from None


def act(home: Home, registry: Registry, model: str, again: Again, result: UpdateResult) -> Path:
    """Do what the recorded decision says; returns the page that shows it."""
    past = again.version.past
    Ledger(home.ledger).settle()  # a killed process may have written it, and no head over it
    report = present(home, registry, model, again)
    if again.decision.action is Action.PROMOTE:
        kept = learned.learned_rows(home.updates / past.entry.update_id)
        replay_store.remember(home, past.batch.digest, kept)
        learned.remember(home, past.batch.digest, kept)
        registry.promote(
            model, past.entry.version, was=again.version.parent, statement=again.statement
        )
    _remember_result(home, again, result, report)
    return report


def present(home: Home, registry: Registry, model: str, again: Again) -> Path:
    """Page, documents and papers into the version's run, and its tags."""
    entry = again.version.past.entry
    run_id = registry.find(model, entry.version).run_id
    work = home.updates / entry.update_id
    said = again.record["predicate"]["about"]
    page = work / "report" / "again.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(
        render_decided(
            model,
            entry.version,
            again.decision,
            said,
            datetime.fromisoformat(again.record["predicate"]["decidedAt"]),
            again.statement,
        ),
        encoding="utf-8",
    )
    registry.runs.log_file(run_id, page, "report")
    account = account_of(home, model, entry.version, registry.load(model, entry.version).base)
    documents = write_documents(account, work / "documents").folder
    registry.runs.log_file(run_id, documents, "documents")
    for folder, files in again.papers.items():
        for file in files:
            registry.runs.log_file(run_id, file, folder)
    text = decided_page(
        model,
        entry.version,
        again.decision,
        said,
        again.statement,
        run_id,
        registry.runs.experiment_of(run_id),
    )
    verdict = {"gov.verdict": str(again.decision.action)}
    registry.runs.tag(run_id, {"mlflow.note.content": text, **verdict})
    digests = {
        f"gov.{kind}": " ".join(one["digest"] for one in said[kind])
        for kind in ("waivers", "approvals", "refusals")
        if said.get(kind)
    }
    tags = {**verdict, "gov.statement": again.statement, **digests}
    registry.annotate(model, entry.version, tags, text)
    return page


def _ruling(ruling: Ruling, recorded: Mapping[str, Any]) -> dict[str, Any]:
    """As recorded before, numbers included; only what happens next is new."""
    new = {
        "gate": ruling.title,
        "outcome": ruling.verdict.outcome,
        "observed": None,
        "limit": None,
        "reason": ruling.verdict.reason,
    }
    # Of an older ruling only the outcome must be what it was; the ruling of people is new.
    same = recorded.get("outcome") == ruling.verdict.outcome
    said = {**new, **(recorded if same else {}), "action": ruling.action}
    if ruling.waived:
        said["waived"] = ruling.waived
    return {**said, "approved": True} if ruling.approved else said


def _result(home: Home, version: Decided) -> Path:
    return home.updates / version.past.entry.update_id / "result.json"


def _remember_result(home: Home, again: Again, result: UpdateResult, report: Path) -> None:
    """What `tidegate update` finds when it is asked the same again."""
    past = again.version.past
    quarantined = about(past.entry)["quarantined"]
    renewed = result.model_copy(
        update={
            "decision": again.decision,
            "document": decision_document(again.decision, past.policy, past.batch, quarantined),
            "statement": again.statement,
            "report": report,
        }
    )
    durable.replace(_result(home, again.version), renewed.model_dump_json().encode())
