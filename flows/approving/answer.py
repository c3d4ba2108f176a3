"""Answering: a reviewer signs approve or refuse, and enough answers decide.

    may this person answer this? → sign → record → enough? → decide again → promote

A version is promoted by the command that brings the last approval, or by the flow `promote`, and
only after all was checked once more (settle.py): the ledger verifies, the stored evidence gives the
rulings of the statement, the files are those that it signed, the champion is the one that it was
compared with, the version never had to go, and each approval counts now. Killed anywhere, the same
command goes on: with the answer that was signed, and with the decision that the ledger has.
"""

from datetime import datetime, timedelta

from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from securesystemslib.signer import CryptoSigner

from tidegate.flows import durable
from tidegate.flows.approving.cases import (
    AnswerError,
    Case,
    open_case,
)
from tidegate.flows.approving.settle import (
    Answered,
    check_again,
    path_of,
    refuse_unanswerable,
    settle,
)
from tidegate.flows.deciding.again import (
    refuse_changed,
)
from tidegate.flows.home import Home
from tidegate.flows.locks import one_at_a_time
from tidegate.flows.registry import Registry
from tidegate.flows.signing import envelope
from tidegate.flows.signing.keys import public_of
from tidegate.flows.signing.orders import signed_before
from tidegate.gates.approval import (
    PAYLOAD_TYPE,
    Answer,
    Word,
    may_not_answer,
    refusals,
)
from tidegate.gates.order import no_reviewers_key
from tidegate.gates.policy.nouns import Policy, Reviewer
from tidegate.gates.policy.proof import ProofRecord
from tidegate.gates.types import Action

__all__ = ["Answered", "answer", "show_answered"]


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
        case = open_case(home, model, number, rules[0] if rules else None)
        reviewer = _reviewer(case, signer)
        if case.word == "approve" and word == "refuse":
            raise AnswerError(
                f"version {number} of {model!r} was approved and promoted; to undo that: "
                f"tidegate rollback --model {model} --reason …"
            )
        if case.word is None and not case.recorded("refuse"):
            refuse_unanswerable(case, word)
            if word == "approve":
                check_again(case, registry, rules)
            refuse_changed(registry, model, case.version)
            _sign(case, word, reviewer, signer, reason, lasts, now)
        return settle(case, registry, reviewer.name, now)


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
    if case.is_revoked(key.keyid):
        raise AnswerError(
            f"{reviewer.name} was a reviewer when version {case.entry.version} was decided, and is "
            "none any more: the policy's file of reviewers does not name this key. Somebody "
            "who is one has to answer"
        )
    refused = may_not_answer([reviewer], policy, case.requester)
    if refused:
        raise AnswerError("; ".join(refused))
    return reviewer


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
        durable.replace(path_of(case, given.digest, mine.keyid), sealed)
