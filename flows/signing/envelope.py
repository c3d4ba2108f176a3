"""Signed files: DSSE envelopes (https://github.com/secure-systems-lab/dsse, v1.0).

An envelope holds any bytes, the type of these bytes, and one signature a key. What is signed
is the type and the bytes together, so a signature under a waiver is worth nothing under a
statement of the same words.

 * An envelope is written one way only, as canonical JSON. A file that differs from that in
   one byte is refused, even where a lenient reader would see the same.
 * A signature that is there and wrong spoils the whole envelope: somebody changed something.
 * A signature by a key that nobody asked for counts for nothing, and is named.
 * The payload is looked at only after the signatures were.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner

from tidegate.flows.signing.keys import PublicKey
from tidegate.flows.usage import UsageError
from tidegate.gates.digest import canonical

IN_TOTO = "application/vnd.in-toto+json"  # the payload type of statements


class EnvelopeError(UsageError):
    """An envelope that is damaged, or signs another kind of thing."""


@dataclass(frozen=True)
class Signatures:
    """Whose signatures an envelope holds, by keyid."""

    good: tuple[str, ...]  # verified, by a key that was given
    unknown: tuple[str, ...]  # by keys that were not given


def seal(payload: bytes, payload_type: str, *signers: CryptoSigner) -> bytes:
    """An envelope around `payload`, signed by each signer, as the bytes of its file."""
    envelope = Envelope(payload, payload_type, {})
    for signer in signers:
        envelope.sign(signer)
    return _written(envelope)


def add_signature(data: bytes, payload_type: str, signer: CryptoSigner) -> bytes:
    """The same envelope with one signature more; signing twice changes nothing."""
    envelope = _opened(data, payload_type)
    envelope.sign(signer)
    return _written(envelope)


def verify(
    data: bytes, payload_type: str, keys: Iterable[PublicKey]
) -> tuple[bytes, Signatures]:
    """The payload, and whose signatures are on it; how many are enough is for the caller.

    Raises EnvelopeError if the envelope is damaged, is of another payload type, or holds a
    wrong signature by one of `keys`.
    """
    envelope = _opened(data, payload_type)
    known = {key.keyid: key.for_securesystemslib() for key in keys}
    good, unknown = [], []
    for keyid in envelope.signatures:
        if keyid not in known:
            unknown.append(keyid)
            continue
        try:
            envelope.verify([known[keyid]], 1)
        except VerificationError:
            raise EnvelopeError(
                f"the signature of the key {keyid[:12]}… does not fit: the content was changed "
                "after it was signed, or the signature was"
            ) from None
        good.append(keyid)
    return envelope.payload, Signatures(tuple(good), tuple(unknown))


def unverified_payload(data: bytes, payload_type: str) -> bytes:
    """What an envelope says, for choosing the keys to verify it with. Never act on it."""
    return _opened(data, payload_type).payload


def _opened(data: bytes, payload_type: str) -> Envelope:
    try:
        envelope = Envelope.from_dict(json.loads(data))
        as_written = _written(envelope) == data
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise EnvelopeError("the file is damaged: it is no DSSE envelope") from None
    if not as_written or any(s.unrecognized_fields for s in envelope.signatures.values()):
        raise EnvelopeError(
            "the file is damaged: it is not written the one way an envelope is; take a fresh "
            "copy of it"
        )
    if envelope.payload_type != payload_type:
        raise EnvelopeError(
            f"the envelope holds {envelope.payload_type[:80]!r}, wanted is {payload_type!r}"
        )
    return envelope


def _written(envelope: Envelope) -> bytes:
    content = envelope.to_dict()
    content["signatures"] = sorted(content["signatures"], key=lambda s: str(s["keyid"]))
    return canonical(content) + b"\n"
