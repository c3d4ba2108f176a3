"""What the ledger says about who may serve: the acts that moved `champion`, and what forbids it.

Tags and aliases in MLflow have no say here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tidegate.flows.home import Home
from tidegate.flows.ledger import Ledger
from tidegate.flows.reconciling.expected import followed
from tidegate.gates.audit import Statement, subject

Written = Sequence[tuple[str, Statement]]  # digest and statement, oldest first


@dataclass(frozen=True)
class Move:
    """An act that made a version champion."""

    statement: str
    act: str
    version: str | None  # None: the bare base, which was blessed before it had a number
    record: Statement

    @property
    def parent(self) -> str | None:
        """The champion before it."""
        about = self.record["predicate"]["about"]
        before = about.get("was" if self.act == "rollback" else "parent")
        return None if before is None else str(before)


def moves(written: Written, model: str) -> Iterator[Move]:
    """The acts that moved the champion of a model line, oldest first.

    A decision to promote moves nothing if another version served by then than the one that the
    candidate was compared with: such a version never served.
    """
    for digest, record, line in followed(written, model):
        if line.moved_by == digest:
            predicate = record["predicate"]
            yield Move(digest, predicate["act"], predicate["about"].get("version"), record)


def promoting(written: Written, model: str, version: str) -> Move | None:
    """The decision that made a version champion; None if there is none."""
    found = [m for m in moves(written, model) if m.act == "decide" and m.version == version]
    return found[-1] if found else None


def blessed_base(written: Written, model: str) -> str | None:
    """The digest of the base that was blessed as the first champion."""
    found = [subject(m.record, "base") for m in moves(written, model) if m.act == "bless"]
    return found[0] if found else None


def decided_about(written: Written, model: str, version: str) -> bool:
    return any(
        record["predicate"]["act"] == "decide"
        and record["predicate"]["model"] == model
        and record["predicate"]["about"].get("version") == version
        for _, record in written
    )


def rolled_back(written: Written, model: str, version: str) -> str | None:
    """The statement by which a version had to go; None if it never had to."""
    found = [
        m.statement
        for m in moves(written, model)
        if m.act == "rollback" and m.parent == version
    ]
    return found[-1] if found else None


def erased(written: Written, model: str, version: str) -> str | None:
    """The statement by which a version's weights were erased; None if they are there."""
    for digest, record in written:
        predicate = record["predicate"]
        named = predicate["about"].get("versions", ())
        ours = predicate["act"] == "erase" and predicate["model"] in ("", model)
        if ours and version in [str(one) for one in named]:
            return digest
    return None


def why_never_again(home: Home, model: str, version: str) -> str | None:
    """Why a version may not become champion again, whoever asks; None if it may."""
    written = Ledger(home.ledger).read()
    gone = rolled_back(written, model, version)
    if gone is not None:
        return (
            f"version {version} of {model!r} was rolled back ({gone[:19]}…) and needs a new "
            "decision: run an update that makes another version"
        )
    gone = erased(written, model, version)
    if gone is not None:
        return f"the weights of version {version} of {model!r} were erased ({gone[:19]}…)"
    return None
