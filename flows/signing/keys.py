"""Keys of people: Ed25519 (RFC 8032), one private key a file, named by its public half.

* A private key is a PKCS#8 PEM file of mode 0600, encrypted if a passphrase is given.
* It is never written over another file, and never inside a git work tree.
* One that other users of the machine can read is refused: it may have been copied.
* The keyid is the SHA-256 of the 32 bytes of the public key, in hexadecimal. It depends on
  nothing else, so it stays the same in every file format and with every library.
"""

import base64
import binascii
import hashlib
import json
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from pydantic import StringConstraints
from securesystemslib.signer import CryptoSigner, SSlibKey

from tidegate.flows.usage import UsageError
from tidegate.gates.policy.nouns import Reviewer
from tidegate.gates.types import Noun

PASSPHRASE_VARIABLE = "TIDEGATE_KEY_PASSPHRASE"
MOST_BYTES = 1 << 16
Passphrase = Callable[[], str]


class KeyFileError(UsageError):
    """A key that cannot be used or made, and what would do."""


class PublicKey(Noun):
    """The public half, as policies/reviewers.yaml holds it."""

    key: str  # base64 of the 32 bytes
    keyid: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]

    @classmethod
    def parse(cls, text: str) -> "PublicKey":
        """From base64 of 32 bytes; raises KeyFileError for anything else."""
        try:
            raw = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raw = b""
        if len(raw) != 32:
            raise KeyFileError(f"{text[:60]!r} is no Ed25519 public key (base64 of 32 bytes)")
        return cls(key=base64.b64encode(raw).decode(), keyid=hashlib.sha256(raw).hexdigest())

    @classmethod
    def given(cls, text: str) -> tuple["PublicKey", ...]:
        """The keys that a command was given: base64, or a file of it (one a line) or of PEM.

        Raises KeyFileError if it is neither, or the file has none.
        """
        path = Path(text).expanduser()
        if not path.is_file():
            return (cls.parse(text),)
        content = path.read_bytes()[:MOST_BYTES]
        if b"-----BEGIN PUBLIC KEY-----" in content:
            try:
                key = serialization.load_pem_public_key(content)
            except ValueError:
                key = None
            if not isinstance(key, Ed25519PublicKey):
                raise KeyFileError(f"{path}: no Ed25519 public key in PEM")
            return (public_half(key),)
        found = tuple(cls.parse(line) for line in content.decode("ascii", "replace").split())
        if not found:
            raise KeyFileError(f"{path}: holds no public key (base64 of 32 bytes, one a line)")
        return found

    @property
    def pem(self) -> bytes:
        """As SubjectPublicKeyInfo, which every other tool reads."""
        raw = Ed25519PublicKey.from_public_bytes(base64.b64decode(self.key))
        return raw.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def for_securesystemslib(self) -> SSlibKey:
        """The same key as stock DSSE, in-toto and TUF clients take it."""
        raw = base64.b64decode(self.key)
        return SSlibKey(self.keyid, "ed25519", "ed25519", {"public": raw.hex()})


def reviewer_line(name: str, key: PublicKey, roles: Sequence[str]) -> str:
    """The line of reviewers.yaml that makes the owner of a key a reviewer."""
    reviewer = Reviewer(name=name, key=key.key, roles=tuple(roles))
    # JSON strings are YAML too, whatever is in them.
    said = {k: json.dumps(v, ensure_ascii=False) for k, v in reviewer.model_dump().items()}
    return f"  - {{name: {said['name']}, key: {said['key']}, roles: {said['roles']}}}"


def new_key(path: Path, passphrase: str | None = None) -> PublicKey:
    """Make a key pair, write the private half to `path`, and return the public half.

    Raises KeyFileError if the file is there already or lies in a git work tree, and OSError
    if it cannot be written.
    """
    refuse_work_tree(path)
    if passphrase == "":
        raise KeyFileError("the passphrase is empty; give one, or make the key without")
    private = Ed25519PrivateKey.generate()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise KeyFileError(
            f"{path}: there is a file already; a key is never written over, name another"
        ) from None
    with os.fdopen(handle, "wb") as file:
        file.write(as_pem(private, passphrase))
        file.flush()
        os.fsync(file.fileno())
    return public_half(private.public_key())


def as_pem(private: PrivateKeyTypes, passphrase: str | None = None) -> bytes:
    """A private key as PKCS#8."""
    return private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(passphrase.encode())
        if passphrase is not None
        else serialization.NoEncryption(),
    )


def load_signer(path: Path, passphrase: Passphrase) -> CryptoSigner:
    """The signer of a private key file; `passphrase` is asked only if the file is encrypted.

    Raises KeyFileError if it cannot be read, others can read it, the passphrase is wrong, or
    it holds no Ed25519 key. No message holds any part of the file.
    """
    text = read_private(path)
    try:
        private = _parse(text, None)
    except TypeError:  # encrypted
        private = _decrypt(path, text, passphrase())
    except ValueError:
        private = None
    if not isinstance(private, Ed25519PrivateKey):
        raise KeyFileError(
            f"{path}: no Ed25519 private key in PEM; make one with: tidegate key new"
        )
    public = public_half(private.public_key())
    return CryptoSigner(private, public.for_securesystemslib())


def public_half(key: Ed25519PublicKey) -> PublicKey:
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return PublicKey.parse(base64.b64encode(raw).decode())


def public_of(signer: CryptoSigner) -> PublicKey:
    raw = bytes.fromhex(signer.public_key.keyval["public"])
    return PublicKey.parse(base64.b64encode(raw).decode())


def read_private(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            # Of the open file, not of the path: nobody can swap it in between.
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(MOST_BYTES)
    except OSError as no:
        raise KeyFileError(f"{path}: the key cannot be read: {no.strerror}") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise KeyFileError(
            f"{path}: others may read this private key. If nobody can have: chmod 600 {path}; "
            "otherwise make a new one and replace it in the reviewers' file"
        )
    return text


def _parse(text: bytes, password: bytes | None) -> object:
    return serialization.load_pem_private_key(text, password)


def _decrypt(path: Path, text: bytes, passphrase: str) -> object:
    try:
        return _parse(text, passphrase.encode())
    except ValueError:
        raise KeyFileError(f"{path}: the passphrase does not open this key") from None


def refuse_work_tree(path: Path) -> None:
    """Raises KeyFileError if a file at `path` could be committed."""
    # A worktree and a submodule have a file named .git, not a folder.
    tree = next((f for f in path.resolve().parents if (f / ".git").exists()), None)
    if tree is not None:
        raise KeyFileError(
            f"{path}: lies in the git work tree {tree}, where a private key gets committed one "
            f"day; write it elsewhere, as ~/.config/tidegate/keys/{path.name}"
        )
