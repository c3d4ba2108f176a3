"""A release: people say that records which a gate refused may be learned after all.

The rules, all of them:
 * A release names records of one batch, each by its id, the digest of its content, and the
   gates that it is released from. A record that was changed is another record.
 * A gate that is not named still counts: whatever else names the record, it stays where it is.
 * A locked gate, such as those of secrets and personal data, releases nothing.
 * Enough reviewers of the policy (its quorum, its roles) released the same record from the
   same gate, each by a release of his own.
 * It counts while it is valid, and is valid no longer than the policy's approvals are.
 * A gate that masks still masks. What is released is kept with what masking made of it.

Signed is the canonical JSON of the noun under a payload type of its own, as a waiver's.
Pure: who signed is found out by flows/signing, and the time is an argument.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Self

from pydantic import AwareDatetime, Field, StringConstraints, model_validator

from tidegate.gates.digest import canonical, digest_bytes
from tidegate.gates.policy.nouns import Policy, Reviewer
from tidegate.gates.types import Digest, Noun
from tidegate.gates.waiver import Line, wrong_time

PAYLOAD_TYPE = "application/vnd.tidegate.release+json"
MOST_RECORDS = 2000  # of one release; an envelope stays below a megabyte


class ReleasedRecord(Noun):
    id: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    content: Digest
    gates: tuple[Line, ...] = Field(min_length=1, description="sorted")


class Release(Noun):
    batch: Digest
    records: tuple[ReleasedRecord, ...] = Field(min_length=1, max_length=MOST_RECORDS)
    reason: Annotated[str, StringConstraints(min_length=1, max_length=2000)]
    issued_at: AwareDatetime
    expires_at: AwareDatetime

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.expires_at <= self.issued_at:
            raise ValueError("the release expires before it is issued")
        if len({record.id for record in self.records}) < len(self.records):
            raise ValueError("the release names a record twice")
        return self

    @property
    def payload(self) -> bytes:
        """What is signed."""
        return canonical(self.model_dump(mode="json"))

    @property
    def digest(self) -> Digest:
        return digest_bytes(self.payload)

    @classmethod
    def parse(cls, payload: bytes) -> "Release":
        """Raises ValueError for anything that is not written exactly as `payload` writes it."""
        release = cls.model_validate_json(payload)
        if release.payload != payload:
            raise ValueError("the release is not written the canonical way")
        return release


def refusals(
    release: Release,
    *,
    batch: Digest,
    policy: Policy,
    signers: Sequence[Reviewer],
    now: datetime,
) -> list[str]:
    """Why a release does not count for this batch now; empty if it does.

    signers: reviewers of the policy whose signatures were verified.
    """
    found = []
    if release.batch != batch:
        found.append(f"it is for another batch ({release.batch[:19]}…, this is {batch[:19]}…)")
    if not may_release(signers, policy):
        roles = ", ".join(policy.approval.roles)
        found.append(f"no reviewer of the policy with a role of {roles} signed it")
    for gate in sorted({gate for record in release.records for gate in record.gates}):
        found += not_releasable(gate, policy)
    return [*found, *wrong_time(release, policy, now)]


def may_release(signers: Sequence[Reviewer], policy: Policy) -> tuple[str, ...]:
    """The names of those whose signature counts."""
    roles = set(policy.approval.roles)
    names = {r.name for r in signers if r in policy.reviewers and roles & set(r.roles)}
    return tuple(sorted(names))


def not_releasable(gate: str, policy: Policy) -> list[str]:
    uses = [use for use in policy.data if use.gate == gate]
    if any(use.locked for use in uses):
        return [f"{gate} is locked by the policy: nothing is released from it"]
    return [] if uses else [f"the policy has no data gate {gate!r}"]
