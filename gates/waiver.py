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

Signed is the canonical JSON of the noun under a payload type of its own, and not an in-toto
Statement. A Statement says what was done; a waiver is an order that may or may not count
later. With the type under the signature, neither can be passed off as the other. What came
of a waiver is in the Statement of the decision, which names it by the digest of its payload:
the same whoever signs, and however many.

Pure: who signed is found out by flows/signing, and the time is an argument.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Protocol, Self

from pydantic import AwareDatetime, Field, StringConstraints, model_validator

from tidegate.gates.conditions import needs_approval
from tidegate.gates.decide import WORST_FIRST, decide
from tidegate.gates.digest import canonical, digest_bytes
from tidegate.gates.policy.nouns import GateUse, Policy, Reviewer
from tidegate.gates.types import Action, Decision, Digest, Noun, Outcome, Ruling
from tidegate.gates.yaml_file import did_you_mean

PAYLOAD_TYPE = "application/vnd.tidegate.waiver+json"
NEVER_MADE = (Outcome.MISSING, Outcome.ERROR)
# A title has none of these: whoever writes them means more than one gate.
SEVERAL = re.compile(r"[*?\[\]{}|,;\s]")

Line = Annotated[str, StringConstraints(min_length=1, max_length=256, strip_whitespace=True)]


class NotWaivable(ValueError):
    """A waiver does not fit the rulings that it was given for."""


class Dated(Protocol):
    """Anything that people sign for a while."""

    @property
    def issued_at(self) -> datetime: ...

    @property
    def expires_at(self) -> datetime: ...


class Waiver(Noun):
    model: Line
    version: Line
    gate: Line = Field(description="title of exactly one gate, as the report shows it")
    candidate: Digest
    policy: Digest
    reason: Annotated[str, StringConstraints(min_length=1, max_length=2000)]
    ticket: Line = Field(description="where the discussion is")
    requester: Line = Field(description="who asked for the update")
    issued_at: AwareDatetime
    expires_at: AwareDatetime

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> Self:
        if self.expires_at <= self.issued_at:
            raise ValueError("the waiver expires before it is issued")
        return self

    @property
    def payload(self) -> bytes:
        """What is signed."""
        return canonical(self.model_dump(mode="json"))

    @property
    def digest(self) -> Digest:
        return digest_bytes(self.payload)

    @classmethod
    def parse(cls, payload: bytes) -> "Waiver":
        """Raises ValueError for anything that is not written exactly as `payload` writes it."""
        waiver = cls.model_validate_json(payload)
        if waiver.payload != payload:
            # Two spellings of one waiver would be two digests of one waiver.
            raise ValueError("the waiver is not written the canonical way")
        return waiver


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


def wrong_time(waiver: Dated, policy: Policy, now: datetime) -> list[str]:
    found = []
    if now < waiver.issued_at:
        found.append(f"it is not valid before {_said(waiver.issued_at)}")
    if now >= waiver.expires_at:
        found.append(f"it expired at {_said(waiver.expires_at)}")
    lasts = (waiver.expires_at - waiver.issued_at).total_seconds()
    if lasts > policy.approval.valid_for:
        found.append(
            f"it lasts {lasts / 3600:.4g} h; the policy lets approvals last "
            f"{policy.approval.valid_for / 3600:.4g} h"
        )
    return found


def _wrong_signers(
    waiver: Waiver, policy: Policy, signers: Sequence[Reviewer], unknown: Sequence[str]
) -> list[str]:
    rule, found, notes = policy.approval, [], []
    counted: set[str] = set()
    for reviewer in signers:
        if reviewer not in policy.reviewers:
            notes.append(f"{reviewer.name!r} is no reviewer of this policy")
        elif not set(reviewer.roles) & set(rule.roles):
            notes.append(f"{reviewer.name!r} has none of the roles {', '.join(rule.roles)}")
        elif "requester" in rule.excluded and _same(reviewer.name, waiver.requester):
            found.append(f"{reviewer.name!r} asked for the update and may not sign (four eyes)")
        else:
            counted.add(reviewer.name)
    notes += [f"the key {keyid[:12]}… is no reviewer's of this policy" for keyid in unknown]
    if not policy.reviewers:
        notes.append("the policy names no reviewers: name a file of them as approval.reviewers")
    if len(counted) < rule.quorum:
        said = f"{len(counted)} of {rule.quorum} reviewers signed it"
        found.append(": ".join([said, "; ".join(notes)]) if notes else said)
    return found


def _same(one: str, other: str) -> bool:
    return one.strip().casefold() == other.strip().casefold()


def _a_step_better(ruling: Ruling, waiver: Waiver) -> Ruling:
    better = WORST_FIRST[WORST_FIRST.index(ruling.action) + 1]
    return ruling.model_copy(update={"action": better, "waived": waiver.digest})


def _said(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
