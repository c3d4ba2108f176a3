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

How it is signed is in gates/order.py. Pure: the time is an argument.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from tidegate.gates.order import Line, Order, who_counts, wrong_time
from tidegate.gates.policy.nouns import Policy, Reviewer
from tidegate.gates.types import Digest, Noun

PAYLOAD_TYPE = "application/vnd.tidegate.release+json"
MOST_RECORDS = 2000  # of one release; an envelope stays below a megabyte


class ReleasedRecord(Noun):
    id: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    content: Digest
    gates: tuple[Line, ...] = Field(min_length=1, description="sorted")


class Release(Order):
    batch: Digest
    records: tuple[ReleasedRecord, ...] = Field(min_length=1, max_length=MOST_RECORDS)

    @model_validator(mode="after")
    def _names_each_once(self) -> Self:
        if len({record.id for record in self.records}) < len(self.records):
            raise ValueError("the release names a record twice")
        return self


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
    return who_counts(signers, policy).names


def not_releasable(gate: str, policy: Policy) -> list[str]:
    uses = [use for use in policy.data if use.gate == gate]
    if any(use.locked for use in uses):
        return [f"{gate} is locked by the policy: nothing is released from it"]
    return [] if uses else [f"the policy has no data gate {gate!r}"]
