"""Past updates: what the ledger says was decided, with the evidence that it was decided on.

The ledger is the truth; the files beside an update are believed only as far as their digests
are in its statement. An update whose evidence is gone, changed, or of a shape that this
version cannot read is handed out all the same, as Lost: nobody may look back on the updates
and pass over those that are inconvenient.
"""

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from tidegate.flows.home import Home
from tidegate.flows.ledger import Ledger
from tidegate.gates.audit import BrokenLedger, Statement
from tidegate.gates.digest import digest_json
from tidegate.gates.policy.nouns import Policy
from tidegate.gates.types import (
    Action,
    Batch,
    BatchEvidence,
    CandidateEvidence,
    Noun,
    Outcome,
)

N = TypeVar("N", bound=Noun)


class Ruled(Noun):
    """One ruling as a statement records it; numbers are decimal strings there."""

    # A statement may say more than this; a later version must still be able to read it.
    model_config = ConfigDict(extra="ignore", strict=False)

    gate: str  # its title
    outcome: Outcome
    action: Action
    reason: str
    observed: str | None = None
    limit: str | None = None
    waived: str | None = None
    approved: bool = False


@dataclass(frozen=True)
class Entry:
    """What the ledger itself says about one decided update."""

    statement: str  # its digest
    record: Statement
    update_id: str
    version: str
    decided_at: datetime
    action: Action
    rulings: tuple[Ruled, ...]

    def subject(self, name: str) -> str | None:
        """The digest of one thing that the statement is about."""
        for subject in self.record["subject"]:
            if subject["name"] == name:
                return "".join(f"{how}:{value}" for how, value in subject["digest"].items())
        return None


@dataclass(frozen=True)
class Past:
    """A decided update with everything that its gates were asked about."""

    entry: Entry
    batch: Batch
    policy: Policy
    evidence_data: BatchEvidence
    evidence_model: CandidateEvidence | None  # None: it was stopped before measuring


@dataclass(frozen=True)
class Lost:
    """A decided update whose evidence cannot be used any more, and why."""

    entry: Entry
    why: str


class _Unusable(Exception):
    """One file of an update's evidence, and what is wrong with it."""


def write_evidence(
    folder: Path, nouns: Mapping[str, BaseModel | None], record: Statement
) -> None:
    """Everything that an update was decided on, beside its statement: one file a noun.

    Written again it is the same, byte for byte.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, noun in nouns.items():
        if noun is not None:
            text = noun.model_dump_json(indent=1).encode()
            # mtime 0: the same evidence is the same file.
            (folder / f"{name}.json.gz").write_bytes(gzip.compress(text, mtime=0))
    (folder / "statement.json").write_text(json.dumps(record, indent=1), encoding="utf-8")


def past_updates(home: Home, model: str, since: datetime | None) -> Iterator[Past | Lost]:
    """Every decided update of a model line, oldest first.

    since: leave out what was decided earlier; with a time zone.
    Raises BrokenLedger if the ledger is not what was written.
    """
    written = Ledger(home.ledger).read()
    # Decided again by people: the later statement is the update's.
    superseded = {record["predicate"]["about"].get("supersedes") for _, record in written}
    for digest, record in written:
        predicate = record["predicate"]
        ours = predicate["act"] == "decide" and predicate["model"] == model
        if ours and digest not in superseded:
            entry = entry_of(digest, record)
            if since is None or entry.decided_at >= since:
                yield read_past(home, entry)


def entry_of(digest: str, record: Statement) -> Entry:
    """What a statement of the act "decide" says. Raises BrokenLedger if it does not say it."""
    predicate = record["predicate"]
    try:
        about = predicate["about"]
        return Entry(
            statement=digest,
            record=record,
            update_id=str(about.get("update_id", about["decision_id"])),
            version=str(about["version"]),
            decided_at=datetime.fromisoformat(predicate["decidedAt"]),
            action=Action(about["action"]),
            rulings=tuple(Ruled.model_validate(ruling) for ruling in about["rulings"]),
        )
    except (KeyError, TypeError, ValueError) as no:
        raise BrokenLedger(
            f"the statement {digest} is no record of a decision ({type(no).__name__}: {no})"
        ) from None


def read_past(home: Home, entry: Entry) -> Past | Lost:
    """The evidence of one decided update, each file held against the entry's statement."""
    folder = home.updates / entry.update_id / "evidence"
    measured = entry.subject("evidence/model")
    try:
        return Past(
            entry=entry,
            batch=_batch(entry),
            policy=_policy(folder, entry),
            evidence_data=_evidence(
                BatchEvidence, folder, "evidence_data", entry.subject("evidence/data")
            ),
            evidence_model=_evidence(CandidateEvidence, folder, "evidence_model", measured)
            if measured
            else None,
        )
    except _Unusable as no:
        return Lost(entry, str(no))


def read_stored(home: Home, entry: Entry, name: str, subject: str) -> dict[str, Any]:
    """One stored file of a decided update as plain data, held against its subject.

    Raises BrokenLedger if the file is gone, or is not what the statement is about.
    """
    path = home.updates / entry.update_id / "evidence" / f"{name}.json.gz"
    try:
        found: dict[str, Any] = _json(_read(path), path)
    except _Unusable as no:
        raise BrokenLedger(str(no)) from None
    if digest_json(found) != entry.subject(subject):
        raise BrokenLedger(str(_changed(path)))
    return found


def _batch(entry: Entry) -> Batch:
    try:
        said = json.dumps(entry.record["predicate"]["about"]["batch"])
        batch = Batch.model_validate_json(said)
    except (KeyError, ValidationError):
        raise _Unusable("its statement does not describe the batch") from None
    if batch.digest != entry.subject("batch"):
        raise _Unusable("its statement names two different batches")
    return batch


def _policy(folder: Path, entry: Entry) -> Policy:
    path = folder / "policy.json.gz"
    content = _read(path)
    level = said = _json(content, path)
    while isinstance(level, dict):
        if _policy_digest(level) != level.get("digest"):
            raise _changed(path)
        level = level.get("parent")
    if said.get("digest") != entry.subject("policy"):
        raise _changed(path)
    return _as(Policy, content, path)


def _policy_digest(said: dict[str, Any]) -> str:
    """As `with_digest` names a policy, but of the text: settings that later versions have
    added, and would fill in, were no part of what was decided on."""
    own = {key: value for key, value in said.items() if key != "digest"}
    if isinstance(own.get("parent"), dict):
        own["parent"] = own["parent"].get("digest")
    return digest_json(own)


def _evidence(noun: type[N], folder: Path, name: str, digest: str | None) -> N:
    path = folder / f"{name}.json.gz"
    content = _read(path)
    # The digest first: a shape of an older version is told apart from a change.
    if digest_json(_json(content, path)) != digest:
        raise _changed(path)
    return _as(noun, content, path)


def _json(content: bytes, path: Path) -> Any:
    """A JSON object without NaN, which no evidence holds."""
    try:
        found = json.loads(content, parse_constant=_no_number)
    except ValueError:
        raise _changed(path) from None
    if not isinstance(found, dict):
        raise _changed(path)
    return found


def _no_number(name: str) -> float:
    raise ValueError(name)


def _read(path: Path) -> bytes:
    try:
        return gzip.decompress(path.read_bytes())
    except FileNotFoundError:
        raise _Unusable(
            f"{path}: is gone; the update's run in MLflow has a copy below evidence/"
        ) from None
    except (OSError, EOFError, zlib.error) as no:
        raise _Unusable(f"{path}: cannot be read ({type(no).__name__})") from None


def _as(noun: type[N], content: bytes, path: Path) -> N:
    try:
        return noun.model_validate_json(content)
    except ValidationError as invalid:
        first: Any = invalid.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _Unusable(
            f"{path}: written by another version of tidegate, which this one cannot read "
            f"({where or 'the file'}: {first['msg']}); use the version that wrote it"
        ) from None


def _changed(path: Path) -> _Unusable:
    return _Unusable(
        f"{path}: is not what the statement was about (another digest); restore it from the "
        "update's run in MLflow, below evidence/"
    )
