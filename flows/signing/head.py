"""Signed heads of a ledger: C2SP checkpoints (https://c2sp.org/tlog-checkpoint), which are
signed notes (https://c2sp.org/signed-note) with Ed25519.

    ORIGIN                      which ledger
    SIZE                        how many entries
    ROOT                        base64 of the RFC 6962 root over them

    — ORIGIN BASE64             4 bytes naming the key, 64 bytes of signature

A head is written one way only; a file that differs in one byte is refused.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from securesystemslib.signer import CryptoSigner

from tidegate.flows.signing.keys import PublicKey, public_of

MOST_BYTES = 4096
ED25519 = b"\x01"
NOTE = re.compile(r"([^\s+]+)\n(0|[1-9][0-9]{0,15})\n(\S+)\n\n— (\S+) (\S+)\n")


class HeadError(ValueError):
    """A head that is damaged, or signed by nobody who was asked for."""


@dataclass(frozen=True)
class Head:
    """What a head says, once its signature was verified."""

    origin: str
    size: int
    root: bytes
    keyid: str  # whose signature it is

    @property
    def text(self) -> str:
        return _text(self.origin, self.size, self.root)


def sign_head(origin: str, size: int, root: bytes, signer: CryptoSigner) -> bytes:
    """The bytes of the head's file. The same for the same tree and key."""
    text = _text(origin, size, root)
    public = public_of(signer)
    signature = bytes.fromhex(signer.sign(text.encode()).signature)
    line = base64.b64encode(_name(origin, public) + signature).decode()
    return f"{text}\n— {origin} {line}\n".encode()


def read_head(data: bytes, keys: Iterable[PublicKey]) -> Head:
    """What a head says. Raises HeadError unless one of `keys` signed it."""
    try:
        match = NOTE.fullmatch(data[: MOST_BYTES + 1].decode())
    except UnicodeDecodeError:
        match = None
    if match is None or match[1] != match[4]:
        raise HeadError("the head is damaged: it is no checkpoint with one signature")
    root, signed = _decoded(match[3], 32), _decoded(match[5], 68)
    head = Head(match[1], int(match[2]), root, "")
    for key in keys:
        if _name(head.origin, key) == signed[:4]:
            raw = Ed25519PublicKey.from_public_bytes(base64.b64decode(key.key))
            try:
                raw.verify(signed[4:], head.text.encode())
            except InvalidSignature:
                break
            return Head(head.origin, head.size, root, key.keyid)
    raise HeadError(
        "the head is signed by none of the keys that were given, or was changed after it was "
        "signed"
    )


def vkey(origin: str, key: PublicKey) -> str:
    """The key as note verifiers take it (golang.org/x/mod/sumdb/note)."""
    encoded = base64.b64encode(ED25519 + base64.b64decode(key.key)).decode()
    return f"{origin}+{_name(origin, key).hex()}+{encoded}"


def _text(origin: str, size: int, root: bytes) -> str:
    return f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n"


def _name(origin: str, key: PublicKey) -> bytes:
    named = origin.encode() + b"\n" + ED25519 + base64.b64decode(key.key)
    return hashlib.sha256(named).digest()[:4]


def _decoded(text: str, length: int) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    # Base64 has spare bits: the same bytes must not have two spellings.
    if len(data) != length or base64.b64encode(data).decode() != text:
        raise HeadError("the head is damaged: a hash or signature in it is none")
    return data
