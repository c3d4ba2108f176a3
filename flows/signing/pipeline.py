"""The keys that a home signs its own record with, below `keys/`, made on first use:

    pipeline.pem   private, Ed25519: signs statements and heads of the ledger
    pipeline.pub   the public halves, base64, one a line: every key that ever signed, oldest
                   first. It is written after the first head, so where it is, a head must be
    adapter.pem    private, ECDSA P-256: signs adapter folders in the OpenSSF model_signing
                   format, which knows no Ed25519. Its name is in every signed decision
    adapter.pub    its public half, PEM

Private files are 0600 and without a passphrase: a scheduled update has nobody to ask. Whoever
can read them can sign as this pipeline; docs/record.md says what finds that.
"""

import hashlib
import os
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from filelock import FileLock
from securesystemslib.signer import CryptoSigner

from tidegate.flows.durable import append, replace
from tidegate.flows.intake.home_key import write_private
from tidegate.flows.signing.keys import (
    KeyFileError,
    PublicKey,
    as_pem,
    load_signer,
    public_of,
    read_private,
)


class PipelineKeys:
    """The keys of one home."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.private = folder / "pipeline.pem"
        self.published = folder / "pipeline.pub"

    def trusted(self) -> tuple[PublicKey, ...]:
        """The public halves of all keys that this home ever signed with, oldest first."""
        if self.published.exists():
            return PublicKey.given(str(self.published))
        return (public_of(self.signer()),) if self.private.exists() else ()

    def own(self) -> tuple[PublicKey, ...] | None:
        """The public halves of the private keys that are here and that this user may read.

        None if the key of today is gone: then nothing tells this home's keys from listed ones,
        and a person has to rotate. Raises KeyFileError for one that others may read as well.
        """
        if not self.private.exists():
            return None
        here = [path for path in (self.private, self.next) if os.access(path, os.R_OK)]
        return tuple(public_of(load_signer(path, _no_passphrase)) for path in here)

    def signer(self) -> CryptoSigner:
        """The key of today. Raises KeyFileError if it is gone or others may read it."""
        if not self.private.exists():
            raise KeyFileError(
                f"{self.private}: the pipeline's key is gone; restore it from a backup, or sign "
                "on with a new one: tidegate key rotate --lost"
            )
        return load_signer(self.private, _no_passphrase)

    def signer_made(self) -> CryptoSigner:
        """The key, made if there was never one."""
        if not self.private.exists() and not self.published.exists():
            self._write(self.private, as_pem(Ed25519PrivateKey.generate()))
        return self.signer()

    def publish(self) -> None:
        """Say that a head signed by the key is on disk."""
        if not self.published.exists():
            replace(self.published, public_of(self.signer()).key.encode() + b"\n")

    @property
    def next(self) -> Path:
        """Where a key waits while the ledger does not know it yet."""
        return self.folder / "pipeline.next.pem"

    def next_signer(self) -> CryptoSigner:
        """The key to rotate to: made once, found again after a crash."""
        if not self.next.exists():
            self._write(self.next, as_pem(Ed25519PrivateKey.generate()))
        return load_signer(self.next, _no_passphrase)

    def announce_next(self) -> None:
        """Publish the next key, so that what it signs can be read."""
        key = public_of(self.next_signer())
        if key not in self.trusted():
            append(self.published, key.key.encode() + b"\n")

    def take_next(self) -> None:
        """The next key becomes the key; the old private half is gone for good."""
        self.next.replace(self.private)

    # For adapters

    @property
    def adapter_private(self) -> Path:
        return self.folder / "adapter.pem"

    @property
    def adapter_public(self) -> Path:
        return self.folder / "adapter.pub"

    def adapter_key(self) -> str:
        """The name of the adapters' key, which is made if there was never one.

        It is the SHA-256 of the public half's PEM file, in hexadecimal, as model_signing
        writes it into its signatures.
        """
        self._folder()
        with FileLock(self.folder / ".lock"):
            if not self.adapter_private.exists():
                if self.adapter_public.exists():
                    raise KeyFileError(
                        f"{self.adapter_private}: the key for adapters is gone; restore it "
                        f"from a backup, or delete {self.adapter_public} to begin another"
                    )
                made = ec.generate_private_key(ec.SECP256R1())
                self._write(self.adapter_private, as_pem(made))
            text = read_private(self.adapter_private)
            private = serialization.load_pem_private_key(text, None)
            if not isinstance(private, ec.EllipticCurvePrivateKey):
                raise KeyFileError(f"{self.adapter_private}: no elliptic curve private key")
            public = private.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            if not self.adapter_public.exists():
                replace(self.adapter_public, public)
        return hashlib.sha256(public).hexdigest()

    def _folder(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        ignore = self.folder / ".gitignore"
        if not ignore.exists():  # a home often lies in somebody's checkout
            replace(ignore, b"*\n")

    def _write(self, path: Path, text: bytes) -> None:
        self._folder()
        write_private(path, text)


def _no_passphrase() -> str:
    raise KeyFileError(
        "the pipeline's key is encrypted, and a scheduled update has nobody to ask for the "
        "passphrase; write it without one: openssl pkey -in OLD -out NEW"
    )
