"""The audit record: one statement per decision, each holding the digest of the one before.

It is built here and nowhere else, from nouns that are already frozen, and written before
anything is promoted. The shape is an in-toto Statement (https://in-toto.io/Statement/v1),
so that other tools can read it; the predicate is ours.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from tidegate.gates.digest import canonical, digest_json

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://tidegate.example/attestation/decision/v0.1"
NO_PREVIOUS = "sha256:" + "0" * 64

Statement = dict[str, Any]


class BrokenLedger(Exception):
    """The ledger is not what was written, and from which line on."""


def statement(
    *,
    act: str,
    model: str,
    subjects: Mapping[str, str],
    about: Mapping[str, Any],
    decided_at: datetime,
    previous: str,
) -> Statement:
    """Say what was done to which model line, and on what grounds.

    `act` is bless, decide or rollback; `subjects` names each digest that the act is about
    (adapter, base, batch, recipe, policy, evidence); `about` is JSON without floats that
    matter to nobody: the decision and its rulings, or the reason of a rollback.
    """
    return {
        "_type": STATEMENT_TYPE,
        "subject": [
            {"name": name, "digest": _by_algorithm(digest)}
            for name, digest in sorted(subjects.items())
        ],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "act": act,
            "model": model,
            "about": dict(about),
            "decidedAt": decided_at.astimezone(UTC).isoformat(timespec="seconds"),
            "previous": previous,
        },
    }


def verify_chain(lines: list[bytes], name: str) -> list[tuple[str, Statement]]:
    """Every statement with its digest, or BrokenLedger with the first line that is wrong."""
    previous, out = NO_PREVIOUS, []
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            follows = record["predicate"]["previous"]
        except (ValueError, KeyError, TypeError):
            raise BrokenLedger(f"{name}:{number}: not a statement") from None
        if follows != previous:
            raise BrokenLedger(f"{name}:{number}: does not follow the statement before it")
        if canonical(record) != line:
            raise BrokenLedger(f"{name}:{number}: is not written the canonical way")
        previous = digest_json(record)
        out.append((previous, record))
    return out


def _by_algorithm(digest: str) -> dict[str, str]:
    algorithm, _, value = digest.partition(":")
    return {algorithm: value}
