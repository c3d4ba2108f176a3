"""Answering: a reviewer signs approve or refuse, and enough answers decide.

    may this person answer this? → sign → record → enough? → decide again → promote

A version is promoted only by the command that brings the last approval, and only after all was
checked once more: the ledger verifies, the stored evidence gives the rulings of the statement,
the files are those that it signed, the champion is the one that it was compared with, the
version never had to go, and each approval counts now. Killed anywhere, the same command goes
on: with the answer that was signed, and with the decision that the ledger has.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from securesystemslib.signer import CryptoSigner

from tidegate.flows import durable
from tidegate.flows.approving.cases import (
    AnswerError,
    AnswerState,
    Case,
    names_of,
    open_case,
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
from tidegate.flows.home import Home
from tidegate.flows.ledger import Ledger
from tidegate.flows.locks import one_at_a_time
from tidegate.flows.one_update import UpdateResult
from tidegate.flows.registry import Registry
from tidegate.flows.signing import envelope
from tidegate.flows.signing.keys import public_of
from tidegate.flows.signing.orders import signed_before
from tidegate.gates.approval import (
    PAYLOAD_TYPE,
    Answer,
    Word,
    approve,
    may_not_answer,
    not_approvable,
    refusals,
    refuse,
)
from tidegate.gates.audit import Statement, statement
from tidegate.gates.conditions import is_proved
from tidegate.gates.order import no_reviewers_key
from tidegate.gates.policy.nouns import Policy, Reviewer
from tidegate.gates.policy.proof import ProofRecord
from tidegate.gates.types import Action, Decision, Digest, Noun

COUNTED = ("digest", "by", "keyid", "reason", "issued", "expires")
KIND: Mapping[Word, str] = {"approve": "approvals", "refuse": "refusals"}


class Answered(Noun):
    """What an answer came to."""

    model: str
    version: str
    by: str
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


def answer(
    home: Home,
    model: str,
    version: str,
    word: Word,
    signer: CryptoSigner,
    *,
    reason: str,
    lasts: float | None,
    now: datetime,
    tracking_uri: str | None = None,
    rules: tuple[Policy, ProofRecord | None] | None = None,
) -> Answered:
    """Approve or refuse a held version (or an alias's), and act on it if that decides it.

    lasts: seconds; as long as the policy allows if None. rules: the policy as it is now, with
    its proof, if whoever answers wants it compared. Raises AnswerError with every reason if
    the answer could not count, RegistryError if the version is stale or changed.
    """
    registry = Registry.open(home, tracking_uri)
    number = registry.aliases(model).get(version, version)
    with one_at_a_time(home, model):
        case = open_case(home, model, number)
        reviewer = _reviewer(case, signer)
        if case.word == "approve" and word == "refuse":
            raise AnswerError(
                f"version {number} of {model!r} was approved and promoted; to undo that: "
                f"tidegate rollback --model {model} --reason …"
            )
        if case.word is None and not case.recorded("refuse"):
            _refuse_unanswerable(case, word)
            if word == "approve":
                _check_again(case, registry, rules)
            refuse_changed(registry, model, case.version)
            _sign(case, word, reviewer, signer, reason, lasts, now)
        return _settle(case, registry, reviewer, now)


def show_answered(console: Console, done: Answered) -> None:
    who = escape(", ".join(done.names)) or "nobody"
    came_to = {
        Action.PROMOTE: f"approved by {who}: it serves now",
        Action.REJECT: f"refused by {who}: it is rejected",
        Action.HOLD: f"approved by {who}; waits for {done.missing} more",
    }[done.action]
    console.print(f"{escape(done.model)} version {done.version}: {came_to}", highlight=False)
    for name, value in (("statement", done.statement), ("report", done.report)):
        if value is not None:
            console.print(f"  {name:<10} {escape(str(value))}", highlight=False, soft_wrap=True)


def _reviewer(case: Case, signer: CryptoSigner) -> Reviewer:
    policy, key = case.policy, public_of(signer)
    if not policy.reviewers:
        raise AnswerError(
            f"the policy {policy.policy!r} of version {case.entry.version} names no reviewers, "
            "so nobody can answer. Run\n"
            "  tidegate reviewer add --name NAME --key PUBLIC_KEY --file reviewers.yaml\n"
            "put `approval: {reviewers: reviewers.yaml}` into the policy beside it, and ask again "
            "under it, since another policy is another question:\n"
            f"  tidegate update DROPS --model {case.model} --policy POLICY.yaml"
        )
    reviewer = case.reviewer(key)
    if reviewer is None:
        raise AnswerError(no_reviewers_key(key.keyid))
    refused = may_not_answer([reviewer], policy, case.requester)
    if refused:
        raise AnswerError("; ".join(refused))
    return reviewer


def _refuse_unanswerable(case: Case, word: Word) -> None:
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


def _check_again(
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


def _sign(
    case: Case,
    word: Word,
    reviewer: Reviewer,
    signer: CryptoSigner,
    reason: str,
    lasts: float | None,
    now: datetime,
) -> None:
    """Keep the reviewer's answer as a file, unless the same is there already."""
    issued = now.replace(microsecond=0)
    seconds = case.policy.approval.valid_for if lasts is None else lasts
    try:
        given = Answer(
            word=word,
            name=reviewer.name,
            about=case.subject,
            reason=reason,
            issued_at=issued,
            expires_at=issued + timedelta(seconds=seconds),
        )
    except ValidationError as invalid:
        first = invalid.errors(include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "expires"
        raise AnswerError(f"{where}: {first['msg']}") from None
    refused = refusals(
        given,
        about=case.subject,
        requester=case.requester,
        signers=[reviewer],
        unknown=(),
        policy=case.policy,
        now=now,
    )
    if refused:
        raise AnswerError("; ".join(refused))
    mine = public_of(signer)
    paths = sorted(case.folder.glob("[!.]*.json"))
    if signed_before(paths, given, PAYLOAD_TYPE, mine, now) is None:
        case.folder.mkdir(parents=True, exist_ok=True)
        sealed = envelope.seal(given.payload, PAYLOAD_TYPE, signer)
        durable.replace(_path(case, given.digest, mine.keyid), sealed)


def _settle(case: Case, registry: Registry, reviewer: Reviewer, now: datetime) -> Answered:
    """Record the answers that count; where they decide, decide and act."""
    result = stored_result(case.home, case.version)
    if case.settled is not None:
        decision = _as_settled(case)
        if case.word == "approve":
            _check_again(case, registry, None)
            refuse_changed(registry, case.model, case.version)
        return _act(
            case,
            registry,
            reviewer,
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
        return _answered(case, reviewer, Action.HOLD, names, None, None)
    if refused:
        word: Word = "refuse"
        said = [{name: one[name] for name in COUNTED} for one in refused]
        decision = refuse(case.rulings, sorted({one["by"] for one in said}))
    else:
        # Checked again, whoever approved earlier: this is the step that promotes.
        _refuse_unanswerable(case, "approve")
        _check_again(case, registry, None)
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
    return _act(case, registry, reviewer, decision, written, record, result)


def _act(
    case: Case,
    registry: Registry,
    reviewer: Reviewer,
    decision: Decision,
    written: str,
    record: Statement,
    result: UpdateResult,
) -> Answered:
    said = record["predicate"]["about"]
    given = [one for kind in KIND.values() for one in said.get(kind, ())]
    papers = [_path(case, one["digest"], one["keyid"]) for one in given]
    kept = {"approvals": [path for path in papers if path.exists()]}
    again = Again(case.version, decision, written, record, kept)
    report = act(case.home, registry, case.model, again, result)
    names = tuple(sorted({one["by"] for one in given}))
    return _answered(case, reviewer, decision.action, names, written, report)


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


def _path(case: Case, digest: str, keyid: str) -> Path:
    # Two people may sign the same words in the same second.
    return case.folder / f"{digest.removeprefix('sha256:')}-{keyid[:16]}.json"


def _answered(
    case: Case,
    reviewer: Reviewer,
    action: Action,
    names: tuple[str, ...],
    written: str | None,
    report: Path | None,
) -> Answered:
    return Answered(
        model=case.model,
        version=case.entry.version,
        by=reviewer.name,
        action=action,
        names=names,
        quorum=case.policy.approval.quorum,
        statement=written,
        report=report,
    )
