"""What must be, read from the ledger's statements of one model line alone: no disk, no MLflow.

A statement is written before an alias moves, so a process that is killed in between leaves a
registry that is one act behind. `Expected.before` is where the aliases were until the last act:
what may still be found there if that act was never carried out.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tidegate.gates.audit import BrokenLedger, Statement, subject
from tidegate.gates.types import Action

BLESSED = "blessed"  # the verdict of the base itself, which no gate judged
BASE_VERSION = "1"  # the base is blessed before anything else can be registered
SERVED = (Action.PROMOTE, BLESSED)


@dataclass(frozen=True)
class Said:
    """What the statement in force says about one version."""

    version: str
    statement: str
    act: str  # bless or decide
    verdict: str
    parent: str | None
    update_id: str
    run_id: str | None
    adapter_key: str | None
    subjects: Mapping[str, str]
    earlier: tuple[str, ...] = ()  # statements that this one takes the place of
    erased: bool = False  # its weights were deleted on purpose
    erasing: bool = False  # an erasure that affects it was begun; it deletes before it says so

    @property
    def may_serve(self) -> bool:
        return self.verdict in SERVED and not self.erased

    @property
    def adapter(self) -> str | None:
        return self.subjects.get("adapter")


@dataclass(frozen=True)
class Aliases:
    """Where the aliases that say what serves must point; None: at nothing."""

    champion: str | None = None
    previous: str | None = None
    anchor: str | None = None


@dataclass(frozen=True)
class Expected:
    """One model line as the ledger has it."""

    model: str
    versions: Mapping[str, Said]
    now: Aliases = Aliases()
    before: Aliases = Aliases()
    moved_by: str | None = None  # the statement that last moved `champion`
    moved_act: str = ""  # its act: bless, decide or rollback

    @property
    def only_blessed(self) -> bool:
        """Whether nothing was ever decided about the line."""
        return set(self.versions) == {BASE_VERSION}

    @property
    def previous(self) -> str | None:
        """What a rollback goes to: the nearest version before whose weights still exist."""
        at = self.now.previous
        while at is not None and at in self.versions and self.versions[at].erased:
            at = self.versions[at].parent
        return at

    def holds(self, version: str | None) -> bool:
        """Whether a version may serve, as far as the ledger knows."""
        said = None if version is None else self.versions.get(version)
        return said is not None and said.may_serve


Finished = Callable[[Said], bool]  # whether the update of a version came to its end


def expected(written: Iterable[tuple[str, Statement]], model: str) -> Expected:
    """What the registry must hold for `model`; no versions if the ledger does not know it.

    written: digests and statements, oldest first. Acts that move nothing (a reviewer's word,
    a repair) are passed over. Raises BrokenLedger if a statement does not say what its act
    needs.
    """
    line = Expected(model, {})
    for _, _, line in followed(written, model):  # noqa: B007  the last one is all of them
        pass
    return line


def followed(
    written: Iterable[tuple[str, Statement]], model: str
) -> Iterator[tuple[str, Statement, Expected]]:
    """Each statement that says something about the line, and what must be after it."""
    line = Expected(model, {})
    for digest, record in written:
        predicate = record["predicate"]
        act = _ACTS.get(predicate["act"])
        ours = predicate["model"] == model or (
            act in (_erased, _forgetting) and not predicate["model"]  # of every line
        )
        if act is None or not ours:
            continue
        try:
            line = act(line, digest, record, predicate["about"])
        except (KeyError, TypeError, ValueError) as no:
            raise BrokenLedger(
                f"the statement {digest} of the act {predicate['act']!r} does not say what it "
                f"must ({type(no).__name__}: {no}); was it written by another version?"
            ) from None
        yield digest, record, line


def _blessed(line: Expected, digest: str, record: Statement, about: Any) -> Expected:
    if line.versions:
        return line  # the base is blessed once
    base = subject(record, "base")
    if base is None:
        raise ValueError("no base")
    said = Said(
        version=BASE_VERSION,
        statement=digest,
        act="bless",
        verdict=BLESSED,
        parent=None,
        update_id=f"base-{base[-12:]}",
        run_id=None,
        adapter_key=None,
        subjects={"base": base},
    )
    aliases = Aliases(BASE_VERSION, None, BASE_VERSION)
    return Expected(line.model, {BASE_VERSION: said}, aliases, line.now, digest, "bless")


def _decided(line: Expected, digest: str, record: Statement, about: Any) -> Expected:
    version, action = str(about["version"]), Action(about["action"])
    replaced = line.versions.get(version)
    if replaced is not None and about.get("supersedes") != replaced.statement:
        raise ValueError(f"a second decision about version {version} that supersedes none")
    parent = about.get("parent")
    if parent is None and replaced is not None:
        parent = replaced.parent
    said = Said(
        version=version,
        statement=digest,
        act="decide",
        verdict=action.value,
        parent=None if parent is None else str(parent),
        update_id=str(about.get("update_id", about["decision_id"])),
        run_id=about.get("run_id"),
        adapter_key=about.get("adapter_key"),
        subjects={name: subject(record, name) or "" for name in _names(record)},
        earlier=(*replaced.earlier, replaced.statement) if replaced else (),
        erased=replaced is not None and replaced.erased,
        erasing=replaced is not None and replaced.erasing,
    )
    line = replace(line, versions={**line.versions, version: said})
    if action is not Action.PROMOTE or line.now.champion == version:
        return line
    # As the registry does: a candidate that was compared with another version than the one
    # that serves is not promoted. The version before the last act still serves if that act
    # was a promotion which was never carried out; a rollback stands even then.
    lost = line.moved_act == "decide" and line.before.champion == said.parent
    if said.parent is None or (said.parent != line.now.champion and not lost):
        return line
    before = line.before if lost else line.now
    now = Aliases(version, said.parent, line.now.anchor)
    return replace(line, now=now, before=before, moved_by=digest, moved_act="decide")


def _rolled_back(line: Expected, digest: str, record: Statement, about: Any) -> Expected:
    to = str(about["version"])
    parent = line.versions[to].parent if to in line.versions else None
    now = Aliases(to, parent, line.now.anchor)
    return replace(line, now=now, before=line.now, moved_by=digest, moved_act="rollback")


def _erased(line: Expected, digest: str, record: Statement, about: Any) -> Expected:
    gone = {str(version) for version in about["versions"]}
    versions = {
        number: replace(said, erased=said.erased or number in gone)
        for number, said in line.versions.items()
    }
    return replace(line, versions=versions)


def _forgetting(line: Expected, digest: str, record: Statement, about: Any) -> Expected:
    named = {str(one["version"]) for one in about["versions"] if one["model"] == line.model}
    versions = {
        number: replace(said, erasing=said.erasing or number in named)
        for number, said in line.versions.items()
    }
    return replace(line, versions=versions)


def _names(record: Statement) -> list[str]:
    return [said["name"] for said in record["subject"]]


_ACTS: Mapping[str, Callable[[Expected, str, Statement, Any], Expected]] = {
    "bless": _blessed,
    "decide": _decided,
    "rollback": _rolled_back,
    "forget": _forgetting,
    "erase": _erased,
}
