"""The audit record: one statement per act, each with its place and the digest of the one before.

It is built here and nowhere else, from nouns that are already frozen, and written before
anything is promoted. The shape is an in-toto Statement (https://in-toto.io/Statement/v1),
so that other tools can read it; the predicate is ours and described in docs/record.md.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://tidegate.example/attestation/decision/v0.2"
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
) -> Statement:
    """Say what was done to which model line, and on what grounds.

    `act` is bless, decide, rollback, repair or rebase of a model line, or approve or refuse, a reviewer's answer;
    rotate or recover, which are about the ledger itself; or what people did to the quarantine. `model` is empty where the act is about
    no line. `subjects` names at least one thing that the act is about, each by its digest
    (adapter, base, batch, recipe, policy, evidence); `about` is JSON without floats that matter
    to nobody: the decision and its rulings, or the reason of a rollback. Its `decision_id` names
    the act: two statements with one id are one act, and the ledger writes it once.
    """
    return {
        "_type": STATEMENT_TYPE,
        "subject": [
            {"name": name, "digest": by_algorithm(digest)}
            for name, digest in sorted(subjects.items())
        ],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "act": act,
            "model": model,
            "about": dict(about),
            "decidedAt": rfc3339(decided_at),
        },
    }


def placed(record: Statement, index: int, previous: str) -> Statement:
    """The statement with its place in the ledger, which is signed together with the rest.

    index: from 0. previous: digest of the statement before, NO_PREVIOUS for the first.
    """
    predicate = {**record["predicate"], "index": index, "previous": previous}
    return {**record, "predicate": predicate}


def by_algorithm(digest: str) -> dict[str, str]:
    algorithm, _, value = digest.partition(":")
    return {algorithm: value}


def subject(record: Statement, name: str) -> str | None:
    """The digest of one thing that a statement is about, as sha256:…"""
    for said in record["subject"]:
        if said["name"] == name:
            return "".join(f"{how}:{value}" for how, value in said["digest"].items())
    return None


def rfc3339(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
