"""An answer: a reviewer's signed word, approve or refuse, about one version that is held.

The rules, all of them:
 * An answer is about one version of one model line, the statement that holds it, and what that
   statement stands on: weights, base, evidence and policy, each by its digest. If any of
   these is another by now, the answer counts for nothing.
 * It counts for one person: the owner of the key that signed it, a reviewer of that policy in
   one of its roles, and not the one who asked for the update where the policy says so.
 * It counts while it is valid, and is valid no longer than the policy's approvals are.
 * Only what is held can be approved, all of it at once. Not covered is what a waiver could not
   lift either: a locked gate, and evidence that was never made (MISSING, ERROR). Nor is the
   proof of the policy: it can be made. Nothing that is rejected can be approved.
 * Enough approvals, and no refusal, promote. One refusal rejects.
 * No outcome changes: what failed still says so, and that people approved it.

How it is signed is in gates/order.py. Pure: the time is an argument.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from tidegate.gates.decide import decide
from tidegate.gates.order import (
    NOBODY,
    Line,
    Order,
    four_eyes,
    no_reviewers_key,
    who_counts,
    wrong_time,
)
from tidegate.gates.policy.nouns import Policy, Reviewer
from tidegate.gates.types import Action, Decision, Digest, Noun, Outcome, Ruling, Verdict
from tidegate.gates.waiver import NEVER_MADE

PAYLOAD_TYPE = "application/vnd.tidegate.answer+json"
Word = Literal["approve", "refuse"]
APPROVAL = "approval"  # title of the ruling that people make


class Subject(Noun):
    """What an answer is about, as ledger and registry have it."""

    model: Line
    version: Line
    candidate: Digest
    base: Digest
    decision: Digest  # of the statement that holds the version
    evidence_data: Digest
    evidence_model: Digest
    policy: Digest


class Answer(Order):
    word: Word
    name: Line  # of the reviewer who signs
    about: Subject


def refusals(
    answer: Answer,
    *,
    about: Subject,
    requester: str,
    signers: Sequence[Reviewer],
    unknown: Sequence[str],
    policy: Policy,
    now: datetime,
) -> list[str]:
    """Why an answer does not count for this version now; empty if it does.

    about, requester: as they are now. signers: reviewers of the policy whose signatures were
    verified. unknown: keyids of the other signatures.
    """
    found = []
    for field in Subject.model_fields:
        then, now_is = getattr(answer.about, field), getattr(about, field)
        if then != now_is:
            what = field.replace("_", " of ")
            found.append(f"its {what} is {then[:19]!r}, and by now it is {now_is[:19]!r}")
    found += may_not_answer(signers, policy, requester)
    found += map(no_reviewers_key, unknown)
    if [reviewer.name for reviewer in signers] != [answer.name]:
        found.append(f"it says that {answer.name!r} signs it, and nobody else does")
    return [*found, *wrong_time(answer, policy, now)]


def may_not_answer(signers: Sequence[Reviewer], policy: Policy, requester: str) -> list[str]:
    """Why these signatures are nobody's who may answer; empty if they are."""
    counted = who_counts(signers, policy, requester)
    found = [*map(four_eyes, counted.requesters), *counted.others]
    if not policy.reviewers:
        found.append(NOBODY)
    elif not counted.names and not found:
        found.append("no reviewer of this policy signed it")
    return found


def not_approvable(policy: Policy, rulings: Sequence[Ruling]) -> list[str]:
    """Why no approval promotes a version with these rulings; empty if enough of them do."""
    reasons = ((ruling.title, _not_covered(ruling, policy)) for ruling in rulings)
    found = [f"{title}: {why}" for title, why in reasons if why is not None]
    if not found and all(ruling.action is Action.PROMOTE for ruling in rulings):
        found.append("nothing is held: there is nothing to approve")
    return found


def approve(policy: Policy, rulings: Sequence[Ruling]) -> Decision:
    """The decision once enough people approved; what is not covered still decides."""
    covered = {"action": Action.PROMOTE, "approved": True}
    return decide(
        [
            ruling.model_copy(update=covered)
            if ruling.action is Action.HOLD and _not_covered(ruling, policy) is None
            else ruling
            for ruling in rulings
        ]
    )


def refuse(rulings: Sequence[Ruling], names: Sequence[str]) -> Decision:
    """The decision once somebody refused."""
    said = Ruling(
        gate=APPROVAL,
        title=APPROVAL,
        verdict=Verdict(outcome=Outcome.FAIL, reason=f"refused by {', '.join(sorted(names))}"),
        action=Action.REJECT,
        why="one reviewer who refuses is enough",
    )
    return decide([*(ruling for ruling in rulings if ruling.title != APPROVAL), said])


def _not_covered(ruling: Ruling, policy: Policy) -> str | None:
    if ruling.action is Action.REJECT:
        return "it rejects, and an approval is no way around that"
    if ruling.action is Action.PROMOTE:
        return None
    if ruling.verdict.outcome in NEVER_MADE:
        outcome = ruling.verdict.outcome.upper()
        return f"it is {outcome}: what was never made cannot be approved, only made"
    if any(use.locked for use in (*policy.data, *policy.model) if use.title == ruling.title):
        return "it is locked by the policy: no approval counts for it"
    if ruling.gate == "proof":
        return "the policy did not block what it must block; mend it, and run the update again"
    return None
