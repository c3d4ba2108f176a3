"""Releases as files: signed envelopes below the home, one folder a batch.

A file that is damaged, foreign, expired or of another batch counts for nothing; `states` says
why. Whether one counts is asked under the policy of the check, at the time of the check.
"""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from tidegate.flows.home import Home
from tidegate.flows.signing import envelope
from tidegate.flows.signing.envelope import EnvelopeError
from tidegate.flows.signing.keys import PublicKey
from tidegate.gates.policy.nouns import Policy
from tidegate.gates.release import PAYLOAD_TYPE, Release, may_release, refusals
from tidegate.gates.types import Noun

MOST_BYTES = 4 << 20


class ReleaseState(Noun):
    """A release as one policy sees it now."""

    path: str
    release: Release | None
    signers: tuple[str, ...] = ()  # those who count
    reasons: tuple[str, ...] = ()  # why it does not count


def folder(home: Home, batch: str) -> Path:
    return home.root / "releases" / batch.removeprefix("sha256:")


def states(home: Home, batch: str, policy: Policy, now: datetime) -> Iterator[ReleaseState]:
    """Every release that is kept for a batch (digest)."""
    for path in sorted(folder(home, batch).glob("[!.]*.json")):
        yield _state(path, batch, policy, now)


def counted(
    home: Home, batch: str, policy: Policy, now: datetime
) -> dict[tuple[str, str], dict[str, tuple[str, ...]]]:
    """By id and content digest of a record, by gate, who released it: where they are enough."""
    who: dict[tuple[str, str], dict[str, set[str]]] = {}
    for state in states(home, batch, policy, now):
        if state.release is not None and not state.reasons:
            for record in state.release.records:
                by_gate = who.setdefault((record.id, record.content), {})
                for gate in record.gates:
                    by_gate.setdefault(gate, set()).update(state.signers)
    enough = {
        record: {
            gate: tuple(sorted(names))
            for gate, names in by_gate.items()
            if len(names) >= policy.approval.quorum
        }
        for record, by_gate in who.items()
    }
    return {record: by_gate for record, by_gate in enough.items() if by_gate}


def in_force(home: Home, batch: str, policy: Policy, now: datetime) -> list[str]:
    """The digests of the releases that count, for naming what a check depends on."""
    return sorted(
        state.release.digest
        for state in states(home, batch, policy, now)
        if state.release is not None and not state.reasons
    )


def _state(path: Path, batch: str, policy: Policy, now: datetime) -> ReleaseState:
    keys = [PublicKey.parse(reviewer.key) for reviewer in policy.reviewers]
    by_id = {key.keyid: who for key, who in zip(keys, policy.reviewers, strict=True)}
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES)
        payload, signatures = envelope.verify(data, PAYLOAD_TYPE, keys)
        release = Release.parse(payload)
    except OSError as no:
        return ReleaseState(path=str(path), release=None, reasons=(str(no.strerror),))
    except EnvelopeError as no:
        return ReleaseState(path=str(path), release=None, reasons=(str(no),))
    except ValueError:
        return ReleaseState(path=str(path), release=None, reasons=("it is no release",))
    signers = [by_id[keyid] for keyid in signatures.good]
    return ReleaseState(
        path=str(path),
        release=release,
        signers=may_release(signers, policy),
        reasons=tuple(refusals(release, batch=batch, policy=policy, signers=signers, now=now)),
    )
