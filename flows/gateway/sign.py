"""Sign a response where it is made: in the gateway that serves the model.

    key = SigningKey.load("gateway.key")            # from: tidegate gateway new --out gateway.key
    signature = sign_response(
        key, record_id="chat-81", messages=[{"role": "user", "content": "Is it open?"}],
        response="Until ten.", model="support@4",
    )

Put `signature` into the record, with the same id, messages and model. What a signature says,
and what it does not, is in docs/drops.md.
"""

import base64
import hmac
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidegate.flows.intake.connectors.chat import messages_of
from tidegate.flows.intake.connectors.rows import Unreadable
from tidegate.flows.usage import UsageError
from tidegate.gates.signals.signatures import (
    KEY_BYTES,
    GatewayKey,
    Response,
    signed_bytes,
    written,
)

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SECRET = "tidegate-gateway-secret:"  # in the file, so that a scanner for secrets can know it
MOST_BYTES = 1 << 14
__all__ = ["CannotSign", "GatewayKeyError", "SigningKey", "sign_response"]


class GatewayKeyError(UsageError):
    """A gateway's key that cannot be used or made, and what would do."""


class CannotSign(ValueError):
    """This response cannot be signed, and why. The reason never repeats what is in it."""


class SigningKey:
    """A gateway's private half: an HMAC secret or an Ed25519 private key."""

    def __init__(self, private: "bytes | Ed25519PrivateKey") -> None:
        """`private`: 32 secret bytes for HMAC-SHA256, or an Ed25519 private key."""
        self._private = private
        if isinstance(private, bytes):
            if len(private) != KEY_BYTES:
                raise GatewayKeyError(
                    f"a secret has {KEY_BYTES} bytes, this one {len(private)}"
                )
            self.public = GatewayKey("hmac-sha256", private)
        else:
            self.public = GatewayKey("ed25519", private.public_key().public_bytes_raw())
        self.keyid = self.public.keyid

    @classmethod
    def load(cls, path: str | Path) -> "SigningKey":
        """From a file of `tidegate gateway new`, or an unencrypted Ed25519 key in PEM.

        Raises GatewayKeyError if it cannot be read, others can read it, or it holds no key.
        """
        path = Path(path)
        try:
            with path.open("rb") as file:
                mode, text = os.fstat(file.fileno()).st_mode, file.read(MOST_BYTES)
        except OSError as no:
            raise GatewayKeyError(f"{path}: the key cannot be read: {no.strerror}") from None
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise GatewayKeyError(
                f"{path}: others may read this key. If nobody can have: chmod 600 {path}; "
                "otherwise make a new one, and: tidegate gateway revoke the old"
            )
        try:
            return cls.parse(text)
        except (ValueError, TypeError):
            raise GatewayKeyError(
                f"{path}: no gateway key; make one with: tidegate gateway new --out FILE"
            ) from None

    @classmethod
    def parse(cls, text: bytes) -> "SigningKey":
        """From the content of such a file, as a store of secrets hands it over.

        Raises ValueError or TypeError for anything else; no message holds any part of it.
        """
        said = text.strip()
        if said.startswith(SECRET.encode()):
            raw = base64.b64decode(said.removeprefix(SECRET.encode()), validate=True)
            if len(raw) == KEY_BYTES:
                return cls(raw)
            raise ValueError("the secret has another length")
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        private = load_pem_private_key(said, None)  # TypeError: it is encrypted
        if not isinstance(private, Ed25519PrivateKey):
            raise TypeError("not an Ed25519 key")
        return cls(private)

    def sign(self, response: Response) -> str:
        """Raises ValueError for text that has no UTF-8."""
        message = signed_bytes(response, self.public.algorithm, self.keyid)
        if isinstance(self._private, bytes):
            signature = hmac.digest(self._private, message, "sha256")
        else:
            signature = self._private.sign(message)
        return written(self.public.algorithm, self.keyid, signature)

    def __repr__(self) -> str:
        return f"SigningKey({self.public.algorithm}, {self.keyid})"


def sign_response(
    key: SigningKey,
    *,
    record_id: str,
    messages: Sequence[Any],
    response: str,
    model: str | None,
) -> str:
    """The `signature` of a record.

    record_id: as the record will have it; no two responses may share one.
    messages: of the request, in OpenAI's form; all before the answer.
    model: the version that answered, as the record will name it.

    Raises CannotSign for a request or a response that is not plain text.
    """
    if not record_id:
        raise CannotSign("there is no id to sign the response under")
    try:
        return key.sign(Response(record_id, messages_of(list(messages)), response, model))
    except Unreadable as no:
        raise CannotSign(no.reason) from None
    except ValueError:
        raise CannotSign("half of a surrogate pair in a text") from None
