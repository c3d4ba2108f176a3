"""What people did to the quarantine, as statements in the ledger.

A statement names records by salted digests only: keyed with the home's key of pseudonyms, so
that nobody tries ids or texts until one fits, and nothing of a purged record stays readable.
They belong to no model line: their `model` is empty.
"""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from tidegate.flows.home import Home
from tidegate.flows.intake.pseudonym import pseudonym_key
from tidegate.flows.ledger import Ledger
from tidegate.gates.audit import statement


def record_act(
    home: Home,
    act: str,
    decision_id: str,
    subjects: Mapping[str, str],
    about: Mapping[str, Any],
    now: datetime,
) -> str:
    """Write what was done into the ledger, once for each decision_id; the statement's digest."""

    record = statement(
        act=act,
        model="",
        subjects=subjects,
        about={"decision_id": decision_id, **about},
        decided_at=now,
    )
    return Ledger(home.ledger).append(record)


def salted(home: Home, batch: str, ids: Iterable[str]) -> list[str]:
    """For each record, 32 hexadecimal digits of keyed BLAKE2b (RFC 7693), sorted."""
    key = pseudonym_key(home)
    return sorted(
        hashlib.blake2b(
            f"{batch}\n{name}".encode(), digest_size=16, key=key, person=b"tidegate.record"
        ).hexdigest()
        for name in ids
    )
