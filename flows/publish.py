"""The end of every update, promoted or not: version, statement, review page, aliases.

In this order, each step safe to repeat after a crash:

 1. the candidate becomes a version, without any alias, and its adapter is signed;
 2. the statement about it is appended to the ledger and synced;
 3. report, plots and evidence are stored, and the version gets its review page;
 4. only if the decision is to promote: its rows are kept for replay, and `champion` moves;
 5. the result is written (finishing.py), which says that all is done.
"""

from datetime import datetime
from typing import Any

from tidegate.flows import learned, replay_store
from tidegate.flows.check import Checked, decision_document
from tidegate.flows.finishing import announce, finish
from tidegate.flows.one_update import Update, UpdateResult
from tidegate.flows.overtaken import unless_overtaken
from tidegate.flows.provenance import code_digest, environment_digest, revision
from tidegate.flows.reviewing.present import present
from tidegate.flows.signing.adapter import sign_adapter
from tidegate.flows.versions import ADAPTER_FILES
from tidegate.gates.audit import BrokenLedger, Statement, statement
from tidegate.gates.digest import digest_file, digest_json
from tidegate.gates.scaling import Tried
from tidegate.gates.types import Action, Candidate, Decision, Progress, Report, Ruling


def publish(update: Update, now: datetime, progress: Report) -> UpdateResult:
    """Record a finished update and make it visible; promote it if that was decided."""
    progress(Progress("record and publish", 0, None, ""))
    update = unless_overtaken(update)
    decision, checked, line = update.decision, update.checked, update.line
    if decision is None or checked is None:
        raise ValueError(f"update {update.id} was never decided")
    candidate = update.candidate or Candidate(
        base=line.base.digest,
        adapter=None,
        batch=update.batch.digest,
        recipe=update.recipe.digest,
        parent=line.champion.version,
    )
    version = line.registry.register(
        line.name,
        update.run_id,
        candidate,
        update.trained.adapter if update.trained else None,
        update_id=update.id,
        tags={
            "gov.verdict": decision.action,
            "gov.policy": f"{update.policy.policy} v{update.policy.version}",
            "gov.policy_digest": update.policy.digest,
            "gov.trained": "yes" if update.trained else "no",
        },
    )
    adapter_key = _sign_adapter(update)
    written = line.ledger.append(
        _statement(update, checked, decision, candidate, version, adapter_key, now)
    )
    record = line.ledger.find(written)
    if record is None:
        raise BrokenLedger(f"{line.ledger.path}: the statement {written} is gone")
    report = present(update, checked, decision, candidate, version, (written, record))
    line.registry.point_candidate(line.name, version)
    result = UpdateResult(
        update_id=update.id,
        decision=decision,
        document=decision_document(decision, update.policy, update.batch, checked.quarantined),
        model=line.name,
        version=version,
        run_id=update.run_id,
        statement=written,
        report=report,
        modules=update.routed.drops if update.routed else (),
    )
    announce(update.work, result)
    if decision.action is Action.PROMOTE:
        replay_store.remember(line.home, update.batch.digest, checked.kept)
        learned.remember(line.home, update.batch.digest, checked.kept)
        line.registry.promote(line.name, version, was=line.champion.version, statement=written)
    return finish(line.registry, update.work, result)


def _sign_adapter(update: Update) -> str | None:
    """Sign the adapter's files and store the signature beside them; the name of its key."""
    if update.trained is None:
        return None
    signature = update.work / "adapter.sig"
    keyid = sign_adapter(update.trained.adapter, update.line.ledger.keys, signature)
    update.line.registry.runs.log_file(update.run_id, signature, "model")
    return keyid


def _statement(
    update: Update,
    checked: Checked,
    decision: Decision,
    candidate: Candidate,
    version: str,
    adapter_key: str | None,
    now: datetime,
) -> Statement:
    subjects = {
        "base": candidate.base,
        "batch": update.batch.digest,
        "recipe": update.recipe.digest,
        "policy": update.policy.digest,
        "code": code_digest(),
        "environment": environment_digest(),
        "evidence/data": digest_json(checked.evidence.model_dump(mode="json")),
    }
    if candidate.adapter and update.trained:
        subjects["adapter"] = candidate.adapter
        for name in ADAPTER_FILES:  # that a stranger can compare with sha256sum
            subjects[f"adapter/{name}"] = digest_file(update.trained.adapter / name)
    teacher = update.line.champion.candidate.adapter
    if update.merged and teacher:
        subjects["teacher"] = teacher
    if update.measured:
        evidence = update.measured.evidence.model_dump(mode="json")
        subjects["evidence/model"] = digest_json(evidence)
    about: dict[str, Any] = {
        "decision_id": update.id,
        "action": decision.action,
        "version": version,
        "parent": candidate.parent,
        "requester": update.requester,
        "run_id": update.run_id,
        "revision": revision(),
        "policy": {"name": update.policy.policy, "version": update.policy.version},
        "batch": update.batch.model_dump(mode="json"),
        "quarantined": checked.quarantined,
        "rulings": [_ruling(ruling) for ruling in decision.rulings],
        "seed": update.recipe.seed,
    }
    if update.merged:
        about["continues"] = update.merged.ancestor.version
        about["merged"] = list(update.merged.versions)
    if update.drawn:
        about["replay"] = {"rows": update.drawn.rows, "by_batch": update.drawn.by_batch}
    if update.trained:
        about["training"] = {
            "steps": update.trained.steps,
            "processes": update.trained.processes,
            "threads": update.trained.threads,
            "counts": update.trained.counts.model_dump(mode="json"),
            "after": {name: repr(value) for name, value in update.trained.after.items()},
        }
        if update.trained.past is not None:  # of a method with a warm start
            about["training"]["past"] = list(update.trained.past)
        about["adapter_key"] = adapter_key
    if update.tried:
        about["scales"] = [_tried(one) for one in update.tried]
    return statement(
        act="decide",
        model=update.line.name,
        subjects=subjects,
        about=about,
        decided_at=now,
    )


def _ruling(ruling: Ruling) -> dict[str, Any]:
    """Numbers as decimal strings: two readers of a statement must not round differently."""
    verdict = ruling.verdict
    return {
        "gate": ruling.title,
        "outcome": verdict.outcome,
        "action": ruling.action,
        "observed": None if verdict.observed is None else repr(verdict.observed),
        "limit": None if verdict.limit is None else repr(verdict.limit),
        "reason": verdict.reason,
        "waived": ruling.waived,
    }


def _tried(one: Tried) -> dict[str, Any]:
    numbers = {"scale": repr(one.scale), "error": repr(one.error)}
    return {**one.model_dump(mode="json"), **numbers}
