"""What the bytes of a ledger say, and everything that is wrong with them.

Needs the bytes and public keys; no home, no registry, no network. Each line of a ledger is a
DSSE envelope around an in-toto Statement, so the file is an in-toto bundle (JSON Lines).

 * Every statement says its own index and the digest of the one before; both are signed.
 * A line is written one way only, and holds the signature of the key of its time, no other.
 * A key is trusted because it was given, or because a trusted key signed the statement that
   rotates to it. From that statement on, the key before it signs nothing any more.
 * A home reads its keys from a list that whoever can write there can change. So only the first
   of them is trusted from the beginning, and the ledger must end with a key of which the home
   holds the private half (`own`), and so must its head.
 * Lines from before there were signatures may only stand at the beginning, and count as
   unsigned until a signed statement or head follows.
 * The signed head says how many lines there are and their Merkle root. A head that somebody
   kept elsewhere must still be the head of the first lines: it alone finds that ledger and
   head were cut off together.
"""

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from tidegate.flows.signing import envelope
from tidegate.flows.signing.envelope import IN_TOTO, EnvelopeError, Signatures
from tidegate.flows.signing.head import Head, HeadError, read_head
from tidegate.flows.signing.keys import KeyFileError, PublicKey
from tidegate.gates import merkle
from tidegate.gates.audit import NO_PREVIOUS, STATEMENT_TYPE, Statement
from tidegate.gates.digest import canonical, digest_bytes
from tidegate.gates.types import Noun


class Finding(Noun):
    """One thing that is wrong with a ledger."""

    line: int | None  # from 1; None: about the file as a whole
    found: str
    do: str


@dataclass(frozen=True)
class Entry:
    """One line of a ledger."""

    index: int  # from 0
    digest: str  # of the statement; what tags, waivers and later statements name it by
    record: Statement
    line: bytes  # without the newline: the leaf of the Merkle tree
    keyid: str | None  # whose signature it has; None: from before there were signatures


@dataclass(frozen=True)
class Chain:
    """A ledger as it was found."""

    entries: tuple[Entry, ...]
    head: Head | None
    torn: bytes  # behind the last whole line: never acted on
    findings: tuple[Finding, ...]
    keys: tuple[PublicKey, ...] = field(repr=False)  # given, and reached by rotation

    @property
    def leaves(self) -> list[bytes]:
        return [entry.line for entry in self.entries]

    @property
    def unsigned(self) -> int:
        """How many lines are from before there were signatures."""
        return sum(entry.keyid is None for entry in self.entries)


UNDO = "compare with a copy kept elsewhere, and promote nothing until it is explained"
OWN = "if an older key was put back into keys/, restore the one of today; otherwise " + UNDO


def read_chain(
    content: bytes,
    head: bytes | None,
    given: Sequence[PublicKey],
    kept: Iterable[bytes] = (),
    *,
    own: Collection[PublicKey] | None = None,
    behind: int = 0,
) -> Chain:
    """Read a ledger and its head, and hold them against each other and against kept heads.

    own: for the home that wrote it; the public halves of the private keys that it holds, none
    if they are gone or this process may not read them. `given` is then its list of keys.
    behind: how many lines the head may lag; 1 for the home that is writing, whose process may
    have been killed between line and head, 0 for everybody else.
    """
    whole, newline, torn = content.rpartition(b"\n")
    lines = whole.split(b"\n") if newline else []
    reader = _Reader(given if own is None else given[:1], listed=given)
    for line in lines:
        reader.take(line)
    entries, findings = tuple(reader.entries), list(reader.findings)
    keys = (*reader.known, *(key for key in own or () if key not in reader.known))
    found: Head | None = None
    if head is None:
        signed = any(entry.keyid for entry in entries)
        if not signed and lines and not findings and behind == 0:
            findings.append(_whole("no line is signed", "record one act more: it signs all"))
        if signed:
            findings.append(_whole("there is no signed head beside the ledger", UNDO))
    else:
        found, wrong = _held_against(head, lines, keys, behind, "the head beside the ledger")
        findings += wrong
        if own:
            findings += _not_of(own, reader, found)
    for copy in kept:
        findings += _held_against(copy, lines, keys, len(lines), "the head that was kept")[1]
    if torn and (behind == 0 or found is None or found.size > len(lines)):
        findings.append(
            Finding(
                line=len(lines) + 1,
                found=f"{len(torn)} bytes without an end: a line that was cut off",
                do="if it was cut off in writing, the next act in the home moves it aside; "
                "otherwise " + UNDO,
            )
        )
    return Chain(entries, found, torn, tuple(findings), keys)


def _not_of(own: Collection[PublicKey], reader: "_Reader", head: Head | None) -> list[Finding]:
    """Whether somebody else's key signs on where this home's own must."""
    mine = {key.keyid for key in own}
    found = []
    if reader.signed and not mine & set(reader.active):
        found.append(_whole("its last lines are signed by no private key of this home", OWN))
    if head is not None and head.keyid not in mine:
        found.append(_whole("its head is signed by no private key of this home", OWN))
    return found


def _held_against(
    data: bytes, lines: Sequence[bytes], keys: Sequence[PublicKey], behind: int, name: str
) -> tuple[Head | None, list[Finding]]:
    try:
        head = read_head(data, keys)
    except HeadError as no:
        return None, [_whole(f"{name}: {no}", UNDO)]
    if head.size > len(lines):
        missing = head.size - len(lines)
        return head, [_whole(f"{name} is over {head.size} lines; {missing} are gone", UNDO)]
    if merkle.root(lines[: head.size]) != head.root:
        return head, [_whole(f"{name} is over other lines than these", UNDO)]
    if len(lines) - head.size > behind:
        more = len(lines) - head.size
        return head, [_whole(f"{more} lines are not under {name}", UNDO)]
    return head, []


class _Reader:
    """Takes one line after the other and remembers what the next must follow."""

    def __init__(self, given: Sequence[PublicKey], listed: Sequence[PublicKey]) -> None:
        self.known = list(given)
        self.active = {key.keyid: key for key in given}
        # Those that may take over alone, where the key before them was lost.
        self.successors = {key.keyid for key in listed}
        self.entries: list[Entry] = []
        self.findings: list[Finding] = []
        self.previous = NO_PREVIOUS
        self.signed = False
        self.count = 0

    def take(self, line: bytes) -> None:
        index, self.count = self.count, self.count + 1
        try:
            payload, keyid = self._payload(line)
            record = _record(payload)
            place = record["predicate"]
            if keyid is not None and place.get("index") != index:
                raise _Wrong(f"says that it is number {place.get('index')} of its ledger")
            if place.get("previous") != self.previous:
                raise _Wrong("does not follow the statement before it")
            self._rotate(record, keyid)
        except _Wrong as no:
            self.findings.append(Finding(line=index + 1, found=str(no), do=UNDO))
            # The next line is held against what this one says it is, so that each change is
            # found where it was made.
            self.previous = _digest_said(line)
            return
        self.previous = digest_bytes(payload)
        self.entries.append(Entry(index, self.previous, record, line, keyid))

    def _payload(self, line: bytes) -> tuple[bytes, str | None]:
        if not line.startswith(b'{"payload"'):
            if self.signed:
                raise _Wrong("is not signed, and stands behind statements that are")
            return line, None
        self.signed = True
        try:
            payload, new, signatures = _opened(line, tuple(self.active.values()))
        except EnvelopeError as no:
            raise _Wrong(str(no)) from None
        if signatures.unknown:
            names = ", ".join(keyid[:12] + "…" for keyid in signatures.unknown)
            raise _Wrong(f"is signed by {names}: no key that was given and may sign here")
        signers = list(signatures.good)
        if new is not None:
            # The new key signs too: it was really there. It alone counts if it was given.
            if new.keyid not in signers:
                raise _Wrong("rotates to a key that did not sign")
            signers.remove(new.keyid)
            if not signers and new.keyid in self.successors:
                signers = [new.keyid]
        if len(signers) != 1:
            raise _Wrong(f"has {len(signers)} signatures of keys that may sign here, not one")
        return payload, signers[0]

    def _rotate(self, record: Statement, keyid: str | None) -> None:
        if keyid is None or record["predicate"].get("act") != "rotate":
            return
        new = PublicKey.parse(record["predicate"]["about"]["key"])  # it was, by _opened
        if new not in self.known:
            self.known.append(new)
        retired = record["predicate"]["about"].get("retired", ())
        self.active = {k: v for k, v in self.active.items() if k not in retired}
        self.successors -= set(retired)
        self.active[new.keyid] = new


@lru_cache(maxsize=1 << 14)
def _opened(
    line: bytes, active: tuple[PublicKey, ...]
) -> tuple[bytes, PublicKey | None, Signatures]:
    """What is in an envelope, the key that it rotates to, and who signed it.

    Remembered: an act reads the ledger several times, and signatures are what takes long.
    """
    new = _rotated_to(envelope.unverified_payload(line + b"\n", IN_TOTO))
    asked = (*active, *([new] if new else []))
    payload, signatures = envelope.verify(line + b"\n", IN_TOTO, asked)
    return payload, new, signatures


class _Wrong(Exception):
    """What is wrong with one line."""


def _record(payload: bytes) -> Statement:
    try:
        record = json.loads(payload)
        if record["_type"] != STATEMENT_TYPE or not isinstance(record["predicate"], dict):
            raise _Wrong("is not a statement")
        as_written = canonical(record) == payload
    except (ValueError, KeyError, TypeError, RecursionError):
        raise _Wrong("is not a statement") from None
    if not as_written:
        raise _Wrong("is not written the canonical way")
    return dict(record)


def _digest_said(line: bytes) -> str:
    try:
        return digest_bytes(envelope.unverified_payload(line + b"\n", IN_TOTO))
    except EnvelopeError:
        return digest_bytes(line)


def _rotated_to(payload: bytes) -> PublicKey | None:
    """The key that a statement rotates to, if that is what it does."""
    try:
        predicate = _record(payload)["predicate"]
        if predicate.get("act") != "rotate":
            return None
        return PublicKey.parse(str(predicate["about"]["key"]))
    except (KeyFileError, KeyError, TypeError):
        raise _Wrong("rotates to a key that is none") from None


def _whole(found: str, do: str) -> Finding:
    return Finding(line=None, found=found, do=do)
