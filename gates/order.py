"""An order: what people sign for a while, which may or may not count later.

Waivers, releases and answers are orders. The rules that they share:
 * Signed is the canonical JSON of the noun, under a payload type of its own: with the type under
   the signature, no order passes for another kind, or for a statement of what was done.
 * One way of writing only, so that one order has one digest whoever signs it.
 * It lasts no longer than the policy's approvals do.
 * Those count who are reviewers of the policy in one of its roles; the one who asked for the
   update is none of them where the policy says so.

Pure: who signed is found out by flows/signing, and the time is an argument.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Self

from pydantic import AwareDatetime, StringConstraints, model_validator

from tidegate.gates.digest import canonical, digest_bytes
from tidegate.gates.policy.nouns import Policy, Reviewer
from tidegate.gates.types import Digest, Noun

Line = Annotated[str, StringConstraints(min_length=1, max_length=256, strip_whitespace=True)]
NOBODY = "the policy names no reviewers: name a file of them as approval.reviewers"


class Order(Noun):
    """Signed with a reason, from one time to another."""

    reason: Annotated[str, StringConstraints(min_length=1, max_length=2000)]
    issued_at: AwareDatetime
    expires_at: AwareDatetime

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> Self:
        if self.expires_at <= self.issued_at:
            raise ValueError(f"the {_kind(type(self))} expires before it is issued")
        return self

    @property
    def payload(self) -> bytes:
        """What is signed."""
        return canonical(self.model_dump(mode="json"))

    @property
    def digest(self) -> Digest:
        return digest_bytes(self.payload)

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Raises ValueError for anything that is not written exactly as `payload` writes it."""
        order = cls.model_validate_json(payload)
        if order.payload != payload:
            # Two spellings of one order would be two digests of one order.
            raise ValueError(f"the {_kind(cls)} is not written the canonical way")
        return order

    def same_as(self, other: "Order") -> bool:
        """Whether both say the same for as long, whenever they were issued."""
        times = {"issued_at", "expires_at"}
        return (
            type(self) is type(other)
            and self.model_dump(exclude=times) == other.model_dump(exclude=times)
            and self.expires_at - self.issued_at == other.expires_at - other.issued_at
        )


@dataclass(frozen=True)
class Counted:
    """Whose signatures count, and why the others do not."""

    names: tuple[str, ...]
    requesters: tuple[str, ...]  # those who asked for the update themselves
    others: tuple[str, ...]  # a sentence each


def wrong_time(order: Order, policy: Policy, now: datetime) -> list[str]:
    found = []
    if now < order.issued_at:
        found.append(f"it is not valid before {said(order.issued_at)}")
    if now >= order.expires_at:
        found.append(f"it expired at {said(order.expires_at)}")
    lasts = (order.expires_at - order.issued_at).total_seconds()
    if lasts > policy.approval.valid_for:
        found.append(
            f"it lasts {lasts / 3600:.4g} h; the policy lets approvals last "
            f"{policy.approval.valid_for / 3600:.4g} h"
        )
    return found


def who_counts(
    signers: Sequence[Reviewer], policy: Policy, requester: str | None = None
) -> Counted:
    """Each name once. requester: None where an order answers no update."""
    rule, others = policy.approval, []
    names: set[str] = set()
    requesters: set[str] = set()
    for reviewer in signers:
        if reviewer not in policy.reviewers:
            others.append(f"{reviewer.name!r} is no reviewer of this policy")
        elif not set(reviewer.roles) & set(rule.roles):
            others.append(f"{reviewer.name!r} has none of the roles {', '.join(rule.roles)}")
        elif requester is not None and _excluded(reviewer.name, requester, policy):
            requesters.add(reviewer.name)
        else:
            names.add(reviewer.name)
    return Counted(tuple(sorted(names)), tuple(sorted(requesters)), tuple(others))


def four_eyes(name: str) -> str:
    return f"{name!r} asked for the update and may not sign (four eyes)"


def no_reviewers_key(keyid: str) -> str:
    return f"the key {keyid[:12]}… is no reviewer's of this policy"


def said(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _excluded(name: str, requester: str, policy: Policy) -> bool:
    same = name.strip().casefold() == requester.strip().casefold()
    return same and "requester" in policy.approval.excluded


def _kind(order: type[Order]) -> str:
    return order.__name__.lower()
