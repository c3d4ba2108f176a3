"""What people's answers come to: recorded, counted, and where they are enough, acted on.

    record → enough? → check again → decide again → promote

All that must hold is asked once more by this step, whoever starts it: it is the one that
promotes. Killed anywhere, it goes on with the decision that the ledger has.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from tidegate.flows.approving.cases import (
    AnswerError,
    AnswerState,
    Case,
    names_of,
)
from tidegate.flows.deciding.again import (
    Again,
    act,
    record_again,
    refuse_changed,
    refuse_stale,
    stored_result,
)
from tidegate.flows.deciding.version import EvidenceLost, about
from tidegate.flows.ledger import Ledger
from tidegate.flows.one_update import UpdateResult
from tidegate.flows.registry import Registry
from tidegate.gates.approval import (
    Word,
    approve,
    not_approvable,
    refuse,
)
from tidegate.gates.audit import Statement, statement
from tidegate.gates.conditions import is_proved
from tidegate.gates.policy.nouns import Policy
from tidegate.gates.policy.proof import ProofRecord
from tidegate.gates.types import Action, Decision, Digest, Noun

COUNTED = ("digest", "by", "keyid", "reason", "issued", "expires")
KIND: Mapping[Word, str] = {"approve": "approvals", "refuse": "refusals"}


class Answered(Noun):
    """What an answer came to."""

    model: str
    version: str
    by: str | None  # whose answer it was; None if nobody gave one now
    action: Action
    names: tuple[str, ...]  # who approved, or refused
    quorum: int
    statement: Digest | None  # of the decision; None while it waits
    report: Path | None

    @property
    def missing(self) -> int:
        """So many approvals more are needed."""
        return self.quorum - len(self.names) if self.action is Action.HOLD else 0

    @property
    def exit_code(self) -> int:
        return {Action.PROMOTE: 0, Action.REJECT: 1, Action.HOLD: 2}[self.action]

    def as_document(self) -> dict[str, Any]:
        return {**self.model_dump(mode="json"), "missing": self.missing}


def settle(case: Case, registry: Registry, by: str | None, now: datetime) -> Answered:
    """Record the answers that count; where they decide, decide and act. Under the line's lock."""
    result = stored_result(case.home, case.version)
    if case.settled is not None:
        decision = _as_settled(case)
        if case.word == "approve":
            check_again(case, registry, None)
            refuse_changed(registry, case.model, case.version)
        return _act(
            case,
            registry,
            by,
            decision,
            case.settled.statement,
            case.settled.record,
            result,
        )
    counting = [state for state in case.answers(now) if not state.reasons]
    for state in counting:
        _record(case, state, now)
    refused = case.recorded("refuse")
    names = names_of(counting, "approve")
    if not refused and len(names) < case.policy.approval.quorum:
        return _answered(case, by, Action.HOLD, names, None, None)
    if refused:
        word: Word = "refuse"
        said = [{name: one[name] for name in COUNTED} for one in refused]
        decision = refuse(case.rulings, sorted({one["by"] for one in said}))
    else:
        # Checked again, whoever approved earlier: this is the step that promotes.
        refuse_unanswerable(case, "approve")
        check_again(case, registry, None)
        refuse_changed(registry, case.model, case.version)
        word, said = "approve", _each_once(counting)
        decision = approve(case.policy, case.rulings)
    written, record = record_again(
        case.home,
        case.model,
        case.entry,
        decision_id=f"{case.entry.update_id} answered {case.entry.statement}",
        decision=decision,
        subjects={f"{word}/{one['by']}": one["digest"] for one in said},
        said={KIND[word]: said},
        supersedes=case.entry.statement,
        now=now,
    )
    return _act(case, registry, by, decision, written, record, result)


def _act(
    case: Case,
    registry: Registry,
    by: str | None,
    decision: Decision,
    written: str,
    record: Statement,
    result: UpdateResult,
) -> Answered:
    said = record["predicate"]["about"]
    given = [one for kind in KIND.values() for one in said.get(kind, ())]
    papers = [path_of(case, one["digest"], one["keyid"]) for one in given]
    kept = {"approvals": [path for path in papers if path.exists()]}
    again = Again(case.version, decision, written, record, kept)
    report = act(case.home, registry, case.model, again, result)
    names = tuple(sorted({one["by"] for one in given}))
    return _answered(case, by, decision.action, names, written, report)


def _as_settled(case: Case) -> Decision:
    """The decision that is in the ledger, made anew; raises EvidenceLost if it is another."""
    said = about(case.settled) if case.settled else {}
    names = sorted({one["by"] for one in said.get("refusals", ())})
    decision = refuse(case.rulings, names) if names else approve(case.policy, case.rulings)
    if case.settled is None or decision.action is not case.settled.action:
        raise EvidenceLost(
            f"the answers about version {case.entry.version} now give {decision.action}, and "
            "their statement says otherwise: the gates changed since. Run the update again"
        )
    return decision


def _record(case: Case, state: AnswerState, now: datetime) -> None:
    """Say in the ledger that somebody answered, once for each answer."""
    given = state.answer
    if given is None:
        raise AnswerError(f"{state.path}: no answer")
    Ledger(case.home.ledger).append(
        statement(
            act=given.word,
            model=case.model,
            subjects={"answer": given.digest, "adapter": case.subject.candidate},
            about={
                "decision_id": f"{given.word} {given.digest} {state.keyid}",
                "action": given.word,
                "version": case.entry.version,
                "answers": case.entry.statement,
                **_counted(state),
            },
            decided_at=now,
        )
    )


def _counted(state: AnswerState) -> dict[str, Any]:
    given = state.answer
    if given is None:
        raise AnswerError(f"{state.path}: no answer")
    times = given.model_dump(mode="json")
    values = (
        given.digest,
        given.name,
        state.keyid,
        given.reason,
        times["issued_at"],
        times["expires_at"],
    )
    return dict(zip(COUNTED, values, strict=True))


def _each_once(counting: Sequence[AnswerState]) -> list[dict[str, Any]]:
    """Approvals by name; of one person the last one."""
    said = [_counted(s) for s in counting if s.answer and s.answer.word == "approve"]
    by_name = {one["by"]: one for one in sorted(said, key=lambda one: str(one["issued"]))}
    return [by_name[name] for name in sorted(by_name)]


def path_of(case: Case, digest: str, keyid: str) -> Path:
    # Two people may sign the same words in the same second.
    return case.folder / f"{digest.removeprefix('sha256:')}-{keyid[:16]}.json"


def _answered(
    case: Case,
    by: str | None,
    action: Action,
    names: tuple[str, ...],
    written: str | None,
    report: Path | None,
) -> Answered:
    return Answered(
        model=case.model,
        version=case.entry.version,
        by=by,
        action=action,
        names=names,
        quorum=case.policy.approval.quorum,
        statement=written,
        report=report,
    )


def refuse_unanswerable(case: Case, word: Word) -> None:
    number, action = case.entry.version, case.entry.action
    if action is not Action.HOLD:
        hint = " (a waiver takes one ruling one step)" if action is Action.REJECT else ""
        raise AnswerError(
            f"the decision about version {number} of {case.model!r} is {action}: only what is "
            f"held can be approved or refused{hint}"
        )
    refused = not_approvable(case.policy, case.rulings)
    if word == "approve" and refused:
        raise AnswerError("; ".join(refused))


def check_again(
    case: Case, registry: Registry, rules: tuple[Policy, ProofRecord | None] | None
) -> None:
    refuse_stale(case.home, registry, case.model, case.version, mine=case.word == "approve")
    if rules is None:
        return
    policy, proof = rules
    if policy.digest != case.policy.digest:
        raise AnswerError(
            f"the policy is {policy.digest[:19]}… by now, and version {case.entry.version} was "
            f"decided under {case.policy.digest[:19]}…: run the update again under it"
        )
    proved = is_proved(policy, proof)
    if proved is not None and proved.action is not Action.PROMOTE:
        raise AnswerError(proved.verdict.reason)
