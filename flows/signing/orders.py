"""Orders as files: finding the one that a person signed already, before a process was killed."""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from tidegate.flows.signing import envelope
from tidegate.flows.signing.keys import PublicKey
from tidegate.flows.usage import UsageError
from tidegate.gates.order import Order

Signed = TypeVar("Signed", bound=Order)


def signed_before(
    paths: Iterable[Path], order: Signed, payload_type: str, by: PublicKey, now: datetime
) -> tuple[Path, Signed] | None:
    """The first file in which a key signed the same order, if it is still valid."""
    for path in paths:
        try:
            payload, signatures = envelope.verify(path.read_bytes(), payload_type, [by])
            earlier = type(order).parse(payload)
        except (UsageError, ValueError):
            continue
        if earlier.same_as(order) and signatures.good and earlier.expires_at > now:
            return path, earlier
    return None
