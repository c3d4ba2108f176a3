"""Signed statements as files for strangers: bundles, proofs, public keys.

A bundle is an in-toto bundle (JSON Lines, one DSSE envelope a line): the decision's line as it
stands in the ledger, then what follows from it in the words of others, signed when exported.
A proof is a C2SP tlog-proof (https://c2sp.org/tlog-proof): that one line is in the ledger of
one head, for whoever does not get to see the other lines. A growth is what C2SP witnesses are
sent (https://c2sp.org/tlog-witness): that a later head is over the lines of an earlier one.
"""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tidegate.flows.chain import Entry
from tidegate.flows.ledger import Ledger
from tidegate.flows.signing import envelope
from tidegate.flows.signing.envelope import IN_TOTO
from tidegate.flows.signing.head import Head, HeadError, read_head
from tidegate.flows.signing.in_toto import validate
from tidegate.flows.signing.keys import PublicKey
from tidegate.flows.standing import erased, rolled_back
from tidegate.flows.usage import UsageError
from tidegate.gates import merkle
from tidegate.gates.attestations import attestations
from tidegate.gates.audit import BrokenLedger
from tidegate.gates.digest import canonical
from tidegate.gates.types import Action

PROOF = "c2sp.org/tlog-proof@v1"


def bundle(ledger: Ledger, digest: str) -> bytes:
    """The statement of one act and all that follows from it, an envelope a line.

    Raises UsageError if the ledger has no such statement, if it is from before signatures, or
    if the version that it promoted had to go since: nobody should sign today that it may serve.
    """
    entry = _found(ledger, digest)
    if entry.keyid is None:
        raise UsageError(
            f"the statement {digest} was written before statements were signed: there is "
            "nothing to export; `tidegate ledger prove` shows that it is in the ledger"
        )
    _refuse_gone(ledger, entry)
    lines = [entry.line + b"\n"]
    for _, record in sorted(attestations(entry.record).items()):
        validate(record)
        lines.append(envelope.seal(canonical(record), IN_TOTO, ledger.keys.signer()))
    return b"".join(lines)


def _refuse_gone(ledger: Ledger, entry: Entry) -> None:
    said = entry.record["predicate"]
    about, model = said["about"], said["model"]
    if said["act"] != "decide" or about.get("action") != Action.PROMOTE:
        return
    written, version = ledger.read(), str(about["version"])
    for word, gone in (
        ("rolled back", rolled_back(written, model, version)),
        ("erased", erased(written, model, version)),
    ):
        if gone is not None:
            raise UsageError(
                f"version {version} of {model!r} was {word} since, by {gone}: to show that it was "
                f"once decided, use tidegate ledger prove {entry.index}"
            )


@dataclass(frozen=True)
class Proof:
    """That one line is number `index` of the ledger of `head`."""

    index: int
    hashes: tuple[bytes, ...]
    head: bytes

    @property
    def text(self) -> bytes:
        return _text(f"{PROOF}\nindex {self.index}", self.hashes, self.head)

    @classmethod
    def parse(cls, data: bytes) -> "Proof":
        """Raises BrokenLedger for anything that is not written as `text` writes it."""
        proof = cls(*_parsed(data, f"{PROOF}\nindex "))
        if proof.text != data:
            raise _damaged()
        return proof


@dataclass(frozen=True)
class Growth:
    """That the ledger of `head` begins with the `earlier` lines of an earlier head."""

    earlier: int
    hashes: tuple[bytes, ...]
    head: bytes

    @property
    def text(self) -> bytes:
        return _text(f"old {self.earlier}", self.hashes, self.head)

    @classmethod
    def parse(cls, data: bytes) -> "Growth":
        """Raises BrokenLedger for anything that is not written as `text` writes it."""
        growth = cls(*_parsed(data, "old "))
        if growth.text != data:
            raise _damaged()
        return growth


def prove(ledger: Ledger, index: int) -> tuple[Entry, Proof]:
    """A line of the ledger, and the proof that it is under today's head."""
    head, leaves = ledger.headed()
    if not 0 <= index < len(leaves):
        raise UsageError(
            f"{ledger.path}: has the lines 0 to {len(leaves) - 1}, and no {index}"
            if leaves
            else f"{ledger.path}: has no lines yet"
        )
    hashes = merkle.inclusion_proof(leaves, index)
    return ledger.entries()[index], Proof(index, tuple(hashes), head)


def check_proof(line: bytes, data: bytes, keys: Sequence[PublicKey]) -> Head:
    """The head that a line is under. Raises BrokenLedger if the proof does not show it."""
    proof = Proof.parse(data)
    head = _head(proof.head, keys)
    if not merkle.verify_inclusion(line, proof.index, head.size, proof.hashes, head.root):
        raise BrokenLedger(
            f"the proof does not show that this line is number {proof.index} of the ledger"
        )
    return head


def prove_growth(ledger: Ledger, earlier: bytes) -> Growth:
    """The proof that the ledger only grew since an earlier head.

    Raises BrokenLedger if it did not: then there is no such proof.
    """
    head, leaves = ledger.headed()
    before = _head(earlier, ledger.keys.trusted())
    if before.size > len(leaves) or merkle.root(leaves[: before.size]) != before.root:
        raise BrokenLedger(f"{ledger.path}: does not begin with the lines of the earlier head")
    hashes = merkle.consistency_proof(leaves, before.size) if before.size else []
    return Growth(before.size, tuple(hashes), head)


def check_growth(earlier: bytes, data: bytes, keys: Sequence[PublicKey]) -> Head:
    """The later head. Raises BrokenLedger if the proof does not show that it only grew."""
    growth = Growth.parse(data)
    before, after = _head(earlier, keys), _head(growth.head, keys)
    same = (before.origin, before.size) == (after.origin, growth.earlier)
    if not same or (
        before.size
        and not merkle.verify_consistency(
            before.size, after.size, growth.hashes, before.root, after.root
        )
    ):
        raise BrokenLedger("the proof does not show that the later head extends the earlier")
    return after


def export_keys(ledger: Ledger, folder: Path) -> tuple[Path, ...]:
    """Write the public halves for strangers into a folder: PEM files, and the list of all."""
    folder.mkdir(parents=True, exist_ok=True)
    keys = ledger.keys.trusted()
    if not keys:
        raise UsageError(f"{ledger.keys.folder}: no key yet; the first update makes it")
    written = [folder / "pipeline.pub"]
    written[0].write_text("".join(f"{key.key}\n" for key in keys))
    for key in keys:
        written.append(folder / f"pipeline-{key.keyid[:12]}.pem")
        written[-1].write_bytes(key.pem)
    if ledger.keys.adapter_public.exists():
        written.append(folder / "adapter.pub")
        written[-1].write_bytes(ledger.keys.adapter_public.read_bytes())
    return tuple(written)


def _found(ledger: Ledger, digest: str) -> Entry:
    entry = ledger.entry(digest)
    if entry is None:
        raise UsageError(f"{ledger.path}: has no statement {digest}")
    return entry


def _head(data: bytes, keys: Sequence[PublicKey]) -> Head:
    try:
        return read_head(data, keys)
    except HeadError as no:
        raise BrokenLedger(str(no)) from None


def _text(first: str, hashes: Sequence[bytes], head: bytes) -> bytes:
    lines = "".join(base64.b64encode(h).decode() + "\n" for h in hashes)
    return f"{first}\n{lines}\n".encode() + head


def _parsed(data: bytes, first: str) -> tuple[int, tuple[bytes, ...], bytes]:
    above, _, head = data.partition(b"\n\n")
    try:
        number, *hashes = above.decode().removeprefix(first).split("\n")
        return int(number), tuple(base64.b64decode(h, validate=True) for h in hashes), head
    except (ValueError, binascii.Error):
        raise _damaged() from None


def _damaged() -> BrokenLedger:
    return BrokenLedger("the proof is damaged: it is not written as one is")
