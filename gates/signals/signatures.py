"""The signature of a response: which answer a serving gateway gave to what, under which id.

    tidegate1.hmac-sha256.<16 digits of the key's name>.<base64url>

Signed are the record's id, the digests of the prompt's messages and of the answer, and the
model's version, together with the format, the algorithm and the key's name. They are the
items of one JSON list in its canonical form: no two different responses have the same bytes,
however their parts are cut. The algorithm is the key's own; what the text names must agree
and never chooses.

Source: HMAC-SHA256 (RFC 2104), Ed25519 (RFC 8032).
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple

from tidegate.gates.digest import canonical, digest_bytes, digest_json

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

FORMAT = "tidegate1"
KEY_BYTES = 32
Algorithm = Literal["hmac-sha256", "ed25519"]
_FORM = re.compile(
    rf"{FORMAT}\.(hmac-sha256|ed25519)\.([0-9a-f]{{16}})\.([A-Za-z0-9_-]{{43}}|[A-Za-z0-9_-]{{86}})",
    re.ASCII,
)


class GatewayKey(NamedTuple):
    """What verifies a gateway's signatures: a shared secret, or an Ed25519 public key."""

    algorithm: Algorithm
    key: bytes  # 32 bytes

    @property
    def keyid(self) -> str:
        """16 hexadecimal digits that tell nothing of a secret."""
        if self.algorithm == "ed25519":
            return hashlib.sha256(self.key).hexdigest()[:16]
        return hmac.digest(self.key, b"tidegate gateway key", "sha256").hex()[:16]

    def __repr__(self) -> str:  # a secret must not end in a traceback
        return f"GatewayKey({self.algorithm}, {self.keyid})"


class Response(NamedTuple):
    """What a signature is about. `messages`: role and content of all before the answer."""

    id: str
    messages: Sequence[Mapping[str, str]]
    answer: str
    model: str | None


def signed_bytes(response: Response, algorithm: Algorithm, keyid: str) -> bytes:
    """What is signed. Raises ValueError for text that has no UTF-8 (half a surrogate pair)."""
    prompt = [{"role": m["role"], "content": m["content"]} for m in response.messages]
    said = [response.id, digest_json(prompt), digest_bytes(response.answer.encode())]
    return canonical([FORMAT, algorithm, keyid, *said, response.model])


def written(algorithm: Algorithm, keyid: str, signature: bytes) -> str:
    """A signature as the text that a record carries."""
    return ".".join((FORMAT, algorithm, keyid, _base64url(signature)))


def is_valid(signature: str, response: Response, keys: Mapping[str, GatewayKey]) -> bool:
    """Whether one of the keys (by name) signed this very response. Never raises for a text."""
    found = _FORM.fullmatch(signature)
    key = keys.get(found[2]) if found else None
    if found is None or key is None or key.algorithm != found[1]:
        return False
    try:
        raw = base64.b64decode(found[3] + "=" * (-len(found[3]) % 4), b"-_", validate=True)
        if _base64url(raw) != found[3]:  # one signature is written in one way
            return False
        message = signed_bytes(response, key.algorithm, key.keyid)
    except (binascii.Error, ValueError):
        return False
    if key.algorithm == "hmac-sha256":
        return hmac.compare_digest(hmac.digest(key.key, message, "sha256"), raw)
    from cryptography.exceptions import InvalidSignature

    try:
        _public(key.key).verify(raw, message)
    except InvalidSignature:
        return False
    return True


@lru_cache
def _public(key: bytes) -> "Ed25519PublicKey":
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    return Ed25519PublicKey.from_public_bytes(key)


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
