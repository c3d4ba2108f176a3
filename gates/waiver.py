"""A waiver: people take one step back from one ruling, for one candidate, for a while.

The rules, all of them:
 * A waiver names one gate, one candidate, one version of one model line and one policy, each
   by its digest or full title. It is inherited by nothing: a child has another digest.
 * It moves its ruling one step, from REJECT to HOLD or from HOLD to PROMOTE, never two. The
   ruling keeps its outcome, and says which waiver counted.
 * Enough reviewers of that policy must have signed it, each in a role that may approve; the
   one who asked for the update is none of them where the policy says so.
 * It lasts no longer than the policy's approvals do.
 * A locked gate knows no waiver. Neither does MISSING or ERROR: evidence that was never made
   cannot be waived, it can only be made.
 * It is no approval: where people approve every update, they still have to.

What came of a waiver is in the Statement of the decision, which names it by the digest of its
payload: the same whoever signs, and however many. How it is signed is in gates/order.py.
"""

import re
from collections.abc import Sequence
from datetime import datetime

from pydantic import Field

from tidegate.gates.conditions import needs_approval
from tidegate.gates.decide import WORST_FIRST, decide
from tidegate.gates.order import (
    NOBODY,
    Line,
    Order,
    four_eyes,
    no_reviewers_key,
    who_counts,
    wrong_time,
)
from tidegate.gates.policy.nouns import GateUse, Policy, Reviewer
from tidegate.gates.types import Action, Decision, Digest, Outcome, Ruling
from tidegate.gates.yaml_file import did_you_mean

PAYLOAD_TYPE = "application/vnd.tidegate.waiver+json"
NEVER_MADE = (Outcome.MISSING, Outcome.ERROR)
# A title has none of these: whoever writes them means more than one gate.
SEVERAL = re.compile(r"[*?\[\]{}|,;\s]")


class NotWaivable(ValueError):
    """A waiver does not fit the rulings that it was given for."""


class Waiver(Order):
    model: Line
    version: Line
    gate: Line = Field(description="title of exactly one gate, as the report shows it")
    candidate: Digest
    policy: Digest
    ticket: Line = Field(description="where the discussion is")
    requester: Line = Field(description="who asked for the update")


def refusals(
    waiver: Waiver,
    *,
    signers: Sequence[Reviewer],
    unknown: Sequence[str],
    policy: Policy,
    model: str,
    version: str,
    candidate: Digest,
    now: datetime,
) -> list[str]:
    """Why a waiver does not count for this candidate now; empty if it does.

    signers: reviewers of the policy whose signatures were verified. unknown: keyids of the
    other signatures.
    """
    return [
        *_wrong_subject(waiver, policy, model, version, candidate),
        *wrong_gate(waiver, policy),
        *wrong_time(waiver, policy, now),
        *_wrong_signers(waiver, policy, signers, unknown),
    ]


def unwaivable(waiver: Waiver, rulings: Sequence[Ruling]) -> list[str]:
    """Why no waiver can move the ruling that this one names; empty if it can."""
    found = [ruling for ruling in rulings if ruling.title == waiver.gate]
    if len(found) != 1:
        return [f"{waiver.gate!r} gave {len(found)} rulings about this version, not one"]
    ruling = found[0]
    if ruling.waived:
        return [f"{ruling.title} was waived already, by {ruling.waived[:19]}…: never two steps"]
    if ruling.verdict.outcome in NEVER_MADE:
        outcome = ruling.verdict.outcome.upper()
        return [f"{ruling.title} is {outcome}: evidence that was never made cannot be waived"]
    if ruling.action is Action.PROMOTE:
        return [f"{ruling.title} stands in nobody's way: there is nothing to waive"]
    return []


def waive(rulings: Sequence[Ruling], waivers: Sequence[Waiver]) -> tuple[Ruling, ...]:
    """The rulings with each waived one a step better; all waivers must be valid already.

    Raises NotWaivable, rather than leave a waiver out, if one fits no ruling.
    """
    out = tuple(rulings)
    for waiver in waivers:
        refused = unwaivable(waiver, out)
        if refused:
            raise NotWaivable("; ".join(refused))
        out = tuple(_a_step_better(r, waiver) if r.title == waiver.gate else r for r in out)
    return out


def redecide(policy: Policy, rulings: Sequence[Ruling], waivers: Sequence[Waiver]) -> Decision:
    """The decision with the waivers; still held where the policy wants people in any case."""
    waived = waive(rulings, waivers)
    due = needs_approval(policy)
    if due is not None and all(ruling.title != due.title for ruling in waived):
        waived = (*waived, due)
    return decide(waived)


def _wrong_subject(
    waiver: Waiver, policy: Policy, model: str, version: str, candidate: Digest
) -> list[str]:
    found = []
    if waiver.model != model:
        found.append(f"it is for the model line {waiver.model!r}, not {model!r}")
    if waiver.version != version:
        found.append(f"it is for version {waiver.version!r}, not {version!r}")
    if waiver.candidate != candidate:
        found.append(
            f"it is for another candidate ({waiver.candidate[:19]}…, this is "
            f"{candidate[:19]}…); a waiver is never inherited"
        )
    if waiver.policy != policy.digest:
        found.append(
            f"it is for another policy ({waiver.policy[:19]}…, this is {policy.digest[:19]}…)"
        )
    return found


def wrong_gate(waiver: Waiver, policy: Policy) -> list[str]:
    uses: dict[str, GateUse] = {use.title: use for use in (*policy.data, *policy.model)}
    if waiver.gate in uses:
        if uses[waiver.gate].locked:
            return [f"{waiver.gate} is locked by the policy: no waiver counts for it"]
        return []
    if SEVERAL.search(waiver.gate) or waiver.gate in {use.gate for use in uses.values()}:
        return [f"{waiver.gate!r} is too broad: a waiver names exactly one gate by its title"]
    hint = did_you_mean(waiver.gate, list(uses))
    return [f"the policy has no gate {waiver.gate!r}{hint}"]


def _wrong_signers(
    waiver: Waiver, policy: Policy, signers: Sequence[Reviewer], unknown: Sequence[str]
) -> list[str]:
    counted = who_counts(signers, policy, waiver.requester)
    found = [four_eyes(name) for name in counted.requesters]
    notes = [*counted.others, *map(no_reviewers_key, unknown)]
    if not policy.reviewers:
        notes.append(NOBODY)
    if len(counted.names) < policy.approval.quorum:
        said = f"{len(counted.names)} of {policy.approval.quorum} reviewers signed it"
        found.append(": ".join([said, "; ".join(notes)]) if notes else said)
    return found


def _a_step_better(ruling: Ruling, waiver: Waiver) -> Ruling:
    better = WORST_FIRST[WORST_FIRST.index(ruling.action) + 1]
    return ruling.model_copy(update={"action": better, "waived": waiver.digest})
