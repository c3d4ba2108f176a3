"""Waivers as files: made, signed by more people, checked, and listed.

A waiver is a DSSE envelope. Whether it counts is asked of gates/waiver.py, about a version as
the ledger and the stored evidence know it, so what somebody wrote into MLflow has no say.
Waivers that counted are kept below the home by the digest of what they say.

Limit: the reviewers who count are those that the policy of the update named. A key that was
taken out of reviewers.yaml since counts for updates that were decided before.
"""

import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, ValidationError
from rich.console import Console
from rich.markup import escape
from securesystemslib.signer import CryptoSigner

from tidegate.flows.deciding.reviewers_now import policy_now
from tidegate.flows.deciding.version import Decided, decided
from tidegate.flows.home import Home
from tidegate.flows.ledger import Ledger
from tidegate.flows.reviewing.wording import clean
from tidegate.flows.signing import envelope
from tidegate.flows.signing.envelope import EnvelopeError
from tidegate.flows.signing.keys import PublicKey
from tidegate.flows.usage import UsageError
from tidegate.gates.audit import BrokenLedger
from tidegate.gates.order import wrong_time
from tidegate.gates.policy.nouns import Policy, Reviewer
from tidegate.gates.types import Digest, Noun
from tidegate.gates.waiver import (
    PAYLOAD_TYPE,
    Waiver,
    refusals,
    unwaivable,
    wrong_gate,
)

MOST_BYTES = 1 << 20


class WaiverError(UsageError):
    """A waiver that cannot be made, read or used, with every reason."""


class WaiverCheck(Noun):
    """Whether a waiver counts now, and every reason if it does not."""

    path: str
    waiver: Waiver | None
    digest: Digest | None
    signers: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    asked_at: AwareDatetime
    statement: Digest | None = None  # the latest that it was applied in

    @property
    def state(self) -> Literal["counts", "expired", "refused"]:
        if not self.reasons:
            return "counts"
        over = self.waiver is not None and self.asked_at >= self.waiver.expires_at
        return "expired" if over else "refused"

    @property
    def exit_code(self) -> int:
        return 1 if self.reasons else 0


def new_waiver(
    home: Home,
    model: str,
    version: str,
    *,
    gate: str,
    reason: str,
    ticket: str,
    requester: str,
    lasts: float,
    now: datetime,
    signer: CryptoSigner,
) -> bytes:
    """A signed waiver for one ruling about one version; `lasts` in seconds.

    Raises WaiverError if no signature could make it count.
    """
    about = decided(home, model, version)
    policy, issued = about.past.policy, now.replace(microsecond=0)
    try:
        waiver = Waiver(
            model=model,
            version=version,
            gate=gate,
            candidate=about.candidate,
            policy=policy.digest,
            reason=reason,
            ticket=ticket,
            requester=requester,
            issued_at=issued,
            expires_at=issued + timedelta(seconds=lasts),
        )
    except ValidationError as invalid:
        first = invalid.errors()[0]
        where = ".".join(map(str, first["loc"])) or "expires"
        raise WaiverError(f"{where}: {first['msg']}") from None
    wrong = [*wrong_gate(waiver, policy), *wrong_time(waiver, policy, now)]
    wrong = wrong or unwaivable(waiver, about.rulings)
    if wrong:
        raise WaiverError("; ".join(wrong))
    return envelope.seal(waiver.payload, PAYLOAD_TYPE, signer)


def sign(path: Path, signer: CryptoSigner) -> Waiver:
    """Add a signature to a waiver file, in place; returns what was signed."""
    data = read(path)
    waiver = said(data)
    write(path, envelope.add_signature(data, PAYLOAD_TYPE, signer))
    return waiver


def said(data: bytes) -> Waiver:
    """What an envelope says, whoever signed it. Raises EnvelopeError or WaiverError."""
    return _parsed(envelope.unverified_payload(data, PAYLOAD_TYPE))


def check_waiver(data: bytes, path: Path, home: Home, now: datetime) -> WaiverCheck:
    """Hold a waiver against the version that it names, as the home knows it."""
    try:
        waiver = said(data)
        about = decided(home, waiver.model, waiver.version)
    except (UsageError, BrokenLedger) as no:
        return _damaged(data, path, now, str(no))
    return check_for(home, about, waiver.model, data, path, now)


def check_for(
    home: Home, about: Decided, model: str, data: bytes, path: Path, now: datetime
) -> WaiverCheck:
    """Hold a waiver against one version of a model line, whatever it says it is for."""
    try:
        entry, policy = about.past.entry, about.past.policy
        rules = policy_now(home, about.past)
        check = _check(data, path, rules, model, entry.version, about.candidate, now)
    except (UsageError, BrokenLedger) as no:
        return _damaged(data, path, now, str(no))
    if check.waiver is None or wrong_gate(check.waiver, policy):
        return check
    reasons = (*check.reasons, *unwaivable(check.waiver, about.rulings))
    return check.model_copy(update={"reasons": reasons})


def check_offline(data: bytes, path: Path, policy: Policy, now: datetime) -> WaiverCheck:
    """Hold a waiver against a policy alone: signatures, gate, time, policy; no candidate."""
    try:
        own = said(data)  # offline there is no version to ask; the rest is held against it
        return _check(data, path, policy, own.model, own.version, own.candidate, now)
    except UsageError as no:
        return _damaged(data, path, now, str(no))


def list_waivers(home: Home, model: str | None, now: datetime) -> tuple[WaiverCheck, ...]:
    """The waivers that the home keeps, by file name, each with its state."""
    applied: dict[str, str] = {}
    for digest, record in Ledger(home.ledger).read():
        for counted in record["predicate"]["about"].get("waivers", ()):
            applied[counted["digest"]] = digest
    found = []
    for path in sorted(home.waivers.glob("*.json")):
        check = check_waiver(read(path), path, home, now)
        if model is None or check.waiver is None or check.waiver.model == model:
            statement = applied.get(check.digest or "")
            found.append(check.model_copy(update={"statement": statement}))
    return tuple(found)


def kept_path(home: Home, digest: str) -> Path:
    return home.waivers / f"{digest.removeprefix('sha256:')}.json"


def read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as no:
        raise WaiverError(f"{path}: cannot be read: {no.strerror}") from None
    if len(data) > MOST_BYTES:
        raise WaiverError(f"{path}: larger than {MOST_BYTES} bytes; it is no waiver")
    return data


def write(path: Path, data: bytes) -> None:
    """Whole or not at all: a reader never sees half an envelope."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with draft.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def write_new(path: Path, data: bytes) -> None:
    """Like `write`, but never over a file: it may hold other people's signatures."""
    if path.exists():
        raise WaiverError(f"{path}: there is a file already; name another with --out")
    write(path, data)


def show_check(console: Console, check: WaiverCheck) -> None:
    console.print(f"[bold]{escape(check.path)}[/]: {check.state}", highlight=False)
    if check.waiver is not None:
        show_waiver(console, check.waiver)
    if check.signers:
        console.print(f"  signed by  {escape(', '.join(check.signers))}", highlight=False)
    if check.statement:
        console.print(f"  applied in {check.statement}", highlight=False)
    for reason in check.reasons:
        console.print(f"  ✗ {escape(clean(reason))}", highlight=False)


def show_waiver(console: Console, waiver: Waiver) -> None:
    """What a person signs or relies on, in full."""
    for name, value in waiver.model_dump(mode="json").items():
        # What does not print, or turns text around, must not reach a signer's terminal.
        console.print(f"  {name:<11}{escape(clean(str(value), 4000))}", highlight=False)
    console.print(f"  {'digest':<11}{waiver.digest}", highlight=False)


def _parsed(payload: bytes) -> Waiver:
    try:
        return Waiver.parse(payload)
    except ValueError:
        raise WaiverError("the envelope's content is no waiver") from None


def _check(
    data: bytes,
    path: Path,
    policy: Policy,
    model: str,
    version: str,
    candidate: Digest,
    now: datetime,
) -> WaiverCheck:
    keys = [PublicKey.parse(reviewer.key) for reviewer in policy.reviewers]
    by_id: dict[str, Reviewer] = {
        key.keyid: reviewer for key, reviewer in zip(keys, policy.reviewers, strict=True)
    }
    payload, signatures = envelope.verify(data, PAYLOAD_TYPE, keys)
    waiver = _parsed(payload)
    signers = [by_id[keyid] for keyid in signatures.good]
    reasons = refusals(
        waiver,
        signers=signers,
        unknown=signatures.unknown,
        policy=policy,
        model=model,
        version=version,
        candidate=candidate,
        now=now,
    )
    return WaiverCheck(
        path=str(path),
        waiver=waiver,
        digest=waiver.digest,
        signers=tuple(sorted(reviewer.name for reviewer in signers)),
        reasons=tuple(reasons),
        asked_at=now,
    )


def _damaged(data: bytes, path: Path, now: datetime, why: str) -> WaiverCheck:
    try:
        waiver = said(data)
    except (EnvelopeError, WaiverError):
        waiver = None
    digest = waiver.digest if waiver else None
    return WaiverCheck(
        path=str(path), waiver=waiver, digest=digest, reasons=(why,), asked_at=now
    )
