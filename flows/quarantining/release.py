"""Release: a reviewer signs that quarantined records may be learned after all.

    find → bind to content and gates → sign → record → the release counts

Nothing leaves the quarantine. The next check of the batch keeps the records, if it names no
gate that is not released; what an update decided before stays decided. Stopped anywhere, the
same command by the same person goes on with what was signed.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from securesystemslib.signer import CryptoSigner

from tidegate.flows.home import Home
from tidegate.flows.intake.home_key import sync_folder, write_private
from tidegate.flows.quarantining.acts import record_act, salted
from tidegate.flows.quarantining.finding import Quarantined, find_records
from tidegate.flows.quarantining.releases import folder
from tidegate.flows.signing import envelope
from tidegate.flows.signing.keys import PublicKey, public_of
from tidegate.flows.signing.orders import signed_before
from tidegate.flows.usage import UsageError
from tidegate.gates.policy.nouns import Policy, Reviewer
from tidegate.gates.release import PAYLOAD_TYPE, Release, ReleasedRecord, refusals
from tidegate.gates.types import Digest, Noun


class ReleaseError(UsageError):
    """A release that could not count, with every reason."""


class ReleaseDone(Noun):
    """A release that was signed, recorded and kept."""

    batch: Digest
    release: Digest
    statement: str
    path: str
    by: str
    records: int
    gates: tuple[str, ...]
    quorum: int  # so many reviewers must release the same


def release_records(
    home: Home,
    ids: Sequence[str],
    policy: Policy,
    signer: CryptoSigner,
    *,
    reason: str,
    lasts: float,
    now: datetime,
    batch: str | None = None,
) -> ReleaseDone:
    """Release records of one batch from the gates that named them; `lasts` in seconds.

    Raises ReleaseError, before anything is written, if it could not count under the policy;
    NotQuarantined and BrokenQuarantine.
    """
    records = find_records(home, ids, batch)
    batches = sorted({record.batch for record in records})
    if len(batches) != 1:
        raise ReleaseError(f"the records are of {len(batches)} batches; release one at a time")
    release = _release(records, reason, lasts, now.replace(microsecond=0))
    known = {PublicKey.parse(reviewer.key).keyid: reviewer for reviewer in policy.reviewers}
    mine = public_of(signer).keyid
    signers = [known[mine]] if mine in known else []
    refused = refusals(release, batch=batches[0], policy=policy, signers=signers, now=now)
    if refused:
        raise ReleaseError("; ".join(refused))
    path, release = _signed(home, release, signer, now)
    gates = tuple(sorted({gate for record in release.records for gate in record.gates}))
    written = _recorded(home, release, signers[0], gates, now)
    kept = path.with_suffix(".json")
    path.replace(kept)
    sync_folder(kept.parent)
    return ReleaseDone(
        batch=release.batch,
        release=release.digest,
        statement=written,
        path=str(kept),
        by=signers[0].name,
        records=len(release.records),
        gates=gates,
        quorum=policy.approval.quorum,
    )


def show_release(console: Console, done: ReleaseDone) -> None:
    console.print(
        f"{done.records:,} records released by {escape(done.by)} from {', '.join(done.gates)}",
        highlight=False,
    )
    if done.quorum > 1:
        console.print(f"  counts when {done.quorum} reviewers released the same")
    for name in ("batch", "release", "statement"):
        console.print(f"  {name:<11}{getattr(done, name)}", highlight=False, soft_wrap=True)
    console.print("  check its drops again, and they are kept")


def _release(
    records: Sequence[Quarantined], reason: str, lasts: float, now: datetime
) -> Release:
    try:
        return Release(
            batch=records[0].batch,
            records=tuple(
                ReleasedRecord(id=r.id, content=r.content, gates=r.gates)
                for r in sorted(records, key=lambda r: r.id)
            ),
            reason=reason,
            issued_at=now,
            expires_at=now + timedelta(seconds=lasts),
        )
    except ValidationError as invalid:
        first = invalid.errors(include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the release"
        raise ReleaseError(f"{where}: {first['msg']}") from None


def _signed(
    home: Home, release: Release, signer: CryptoSigner, now: datetime
) -> tuple[Path, Release]:
    """The envelope's file; one that says the same, is by the same key and lasts, is taken."""
    place, mine = folder(home, release.batch), public_of(signer)
    paths = sorted(place.glob("[!.]*.json")) + sorted(place.glob("[!.]*.signed"))
    found = signed_before(paths, release, PAYLOAD_TYPE, mine, now)
    if found is not None:
        return found
    # Two people may sign the same words in the same second.
    name = f"{release.digest.removeprefix('sha256:')}-{mine.keyid[:16]}.signed"
    path = place / name
    write_private(path, envelope.seal(release.payload, PAYLOAD_TYPE, signer), replace=True)
    return path, release


def _recorded(
    home: Home, release: Release, by: Reviewer, gates: Sequence[str], now: datetime
) -> str:
    return record_act(
        home,
        "release",
        f"release {release.digest} {by.name}",
        {"batch": release.batch, "release": release.digest},
        {
            "by": by.name,
            "reason": release.reason,
            "gates": list(gates),
            "count": len(release.records),
            "records": salted(home, release.batch, [r.id for r in release.records]),
            "expires_at": release.expires_at.isoformat(),
        },
        now,
    )
