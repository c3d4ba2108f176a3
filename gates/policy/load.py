"""Reading a policy. A policy with one mistake in it is no policy: nothing runs.

    policy: support-assistant
    version: 3
    extends: baseline.yaml        # what this file does not say is as there; it may only tighten
    why: weekly updates of the support assistant
    model:
      - gate: not_worse
        suite: refusal
        than: {champion: 0.1}     # the anchor's margin is inherited
        why: refusals may not erode

Every message names the file and the line, what was found there, and what would do. The
digest names the resolved policy, with every default filled in and every parent merged: two
files that say the same have the same digest, and a comment changes nothing.
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from tidegate.gates.digest import digest_json
from tidegate.gates.gate import Gate, load_gates
from tidegate.gates.policy.floor import in_file, meets_floor
from tidegate.gates.policy.nouns import (
    Approval,
    Baselines,
    Budget,
    Envelope,
    GateUse,
    Policy,
    Promote,
    Proof,
    Reviewer,
    Statistics,
)
from tidegate.gates.policy.proof import FIXTURES
from tidegate.gates.policy.reviewers import load_reviewers
from tidegate.gates.tighter import loosened
from tidegate.gates.types import Action, BatchEvidence, CandidateEvidence, Evidence, Noun
from tidegate.gates.yaml_file import Where, YamlError, YamlFile, did_you_mean

OWN_KEYS = {"gate", "on_fail", "why", "locked"}
MAX_PARENTS = 8
PolicyError = YamlError
SECTIONS: dict[str, type[Noun]] = {
    "baselines": Baselines,
    "statistics": Statistics,
    "envelope": Envelope,
    "approval": Approval,
    "promote": Promote,
    "budget": Budget,
    "proof": Proof,
}
STAGES: dict[str, type[Evidence]] = {"data": BatchEvidence, "model": CandidateEvidence}


class _File(Noun):
    """The outline of a policy file; its parts are read one by one, for better messages."""

    policy: str = Field(min_length=1)
    version: int = Field(gt=0)
    why: str = Field(min_length=1)
    extends: str | None = Field(default=None, min_length=1)
    baselines: dict[str, Any] | None = None
    statistics: dict[str, Any] | None = None
    envelope: dict[str, Any] | None = None
    data: list[dict[str, Any]] = Field(default=[])
    model: list[dict[str, Any]] = Field(default=[])
    approval: dict[str, Any] | None = None
    promote: dict[str, Any] | None = None
    budget: dict[str, Any] | None = None
    proof: dict[str, Any] | None = None


class _Use(Noun):
    gate: str
    on_fail: Literal["hold", "reject"] = "reject"
    why: str = Field(min_length=1)
    locked: bool = False


class _Read:
    """One policy file, resolved, with what its children need to build on it."""

    def __init__(self, policy: Policy, sections: dict[str, Any], items: dict[str, Any]) -> None:
        self.policy = policy
        self.sections = sections  # as written, parents merged
        self.items = items  # gates as written, parents merged, by title


def load_policy(path: Path, *, floor: Path | None = None) -> Policy:
    """Read, check and freeze a policy, or raise PolicyError with the first mistake.

    `floor` is a policy whose every gate this one must have, at least as strict.
    """
    read = _read(path, ())
    policy = read.policy
    if floor is not None and not _same_file(path, floor):
        ground = _read(floor, ()).policy
        meets_floor(YamlFile(path), policy, ground, YamlFile(floor))
        policy = policy.model_copy(update={"floor": ground.digest})
    return with_digest(policy)


def with_digest(policy: Policy) -> Policy:
    """The same policy under the digest of all that it says."""
    said = policy.model_dump(mode="json", exclude={"digest", "parent"})
    said["parent"] = policy.parent.digest if policy.parent else None
    return policy.model_copy(update={"digest": digest_json(said)})


def _read(path: Path, children: tuple[Path, ...]) -> _Read:
    file = YamlFile(path)
    given = file.parse(_File, file.data)
    parent = _parent(file, given, (*children, path.resolve()))
    sections = dict(parent.sections) if parent else {}
    for name in SECTIONS:
        if name in given.model_fields_set:
            said = getattr(given, name)
            if said is None:
                raise file.error((name,), f"{name}: is empty; fill it in or leave it out")
            sections[name] = _over(sections.get(name), said)
    resolved = {
        name: file.parse(SECTIONS[name], _without_path(said), (name,))
        for name, said in sections.items()
    }
    items: dict[str, Any] = dict(parent.items) if parent else {}
    uses = {
        stage: _gates(
            file, stage, getattr(given, stage), parent.policy if parent else None, items
        )
        for stage in STAGES
    }
    policy = Policy(
        policy=given.policy,
        version=given.version,
        why=given.why,
        data=uses["data"],
        model=uses["model"],
        reviewers=_reviewers(file, given, parent),
        parent=parent.policy if parent else None,
        digest="",
    ).model_copy(update=resolved)
    _refuse_unknown_fixtures(file, policy)
    if parent:
        _tightens(file, parent.policy, policy)
    return _Read(with_digest(policy), sections, items)


def _parent(file: YamlFile, given: _File, files: tuple[Path, ...]) -> _Read | None:
    if given.extends is None:
        for stage in STAGES:
            if not getattr(given, stage):
                raise file.error(
                    (stage,), f"{stage}: there is no gate; a policy needs one here"
                )
        return None
    path = file.path.parent / given.extends
    if path.resolve() in files:
        raise file.error(("extends",), f"extends: {given.extends} stands on this file itself")
    if len(files) > MAX_PARENTS:
        raise file.error(("extends",), f"extends: more than {MAX_PARENTS} policies deep")
    if not path.is_file():
        raise file.error(
            ("extends",), f"extends: there is no file {path}; paths count from this file"
        )
    return _read(path, files)


def _over(below: Any, above: Any) -> Any:
    """What a child says, over what its parent says; mappings are merged key by key."""
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    return {**below, **{key: _over(below.get(key), value) for key, value in above.items()}}


def _without_path(said: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in said.items() if key != "reviewers"}


def _reviewers(file: YamlFile, given: _File, parent: _Read | None) -> tuple[Reviewer, ...]:
    named = (given.approval or {}).get("reviewers")
    inherited = parent.policy.reviewers if parent else ()
    if named is None:
        return inherited
    where = ("approval", "reviewers")
    if not isinstance(named, str):
        raise file.error(where, "reviewers: the name of a YAML file belongs here")
    found = load_reviewers(file.path.parent / named)
    if inherited and found != inherited:
        raise file.error(where, "reviewers: the parent names other people; leave this out")
    return found


def _gates(
    file: YamlFile,
    stage: str,
    given: list[dict[str, Any]],
    parent: Policy | None,
    items: dict[str, Any],
) -> tuple[GateUse, ...]:
    """The parent's gates in its order, each as this file tightens it, then the new ones."""
    inherited = {use.title: use for use in getattr(parent, stage)} if parent else {}
    uses = dict(inherited)
    lines: dict[str, int] = {}
    for i, item in enumerate(given):
        title, use, said = _gate_use(file, (stage, i), item, inherited, items)
        if title in lines:
            where = (stage, i)
            raise file.error(where, f"{title} was already set on line {lines[title]}")
        lines[title] = file.line((stage, i))
        if title in inherited:
            found = loosened(inherited[title], use)
            if found:
                at: Where = (stage, i, *found.where)
                raise file.error(
                    in_file(at), f"{title} is looser than in {_of(parent)}: {found}"
                )
        uses[title], items[title] = use, said
    return tuple(uses.values())


def _gate_use(
    file: YamlFile,
    where: Where,
    item: dict[str, Any],
    inherited: dict[str, GateUse],
    items: dict[str, Any],
) -> tuple[str, GateUse, dict[str, Any]]:
    name = item.get("gate")
    if not isinstance(name, str):
        raise file.error(where, "gate: the name of a gate belongs here")
    found = _known(file, where, name, STAGES[str(where[0])])
    for key, field in found.params.model_fields.items():
        if field.exclude and key in item:
            raise file.error(
                (*where, key),
                f"there is no key {key!r}; a policy says it once, under statistics:",
            )
    title = found.params.title(name, item)
    said = _over(items[title], item) if title in inherited else item
    use = file.parse(_Use, {k: v for k, v in said.items() if k in OWN_KEYS}, where)
    params = file.parse(
        found.params, {k: v for k, v in said.items() if k not in OWN_KEYS}, where
    )
    return (
        title,
        GateUse(
            gate=name,
            params=params,
            on_fail=Action(use.on_fail),
            why=use.why,
            locked=use.locked,
        ),
        said,
    )


def _known(file: YamlFile, where: Where, name: str, judges: type[Evidence]) -> Gate:
    gates = load_gates()
    here = {n for n, gate in gates.items() if gate.judges is judges}
    if name in here:
        return gates[name]
    if name in gates:
        other = "model" if judges is BatchEvidence else "data"
        message = f"{name!r} is a gate of the other stage; move it under {other}:"
    else:
        message = f"there is no gate {name!r}{did_you_mean(name, sorted(here))}"
    raise file.error((*where, "gate"), message)


def _tightens(file: YamlFile, parent: Policy, child: Policy) -> None:
    for name in SECTIONS:
        before, after = getattr(parent, name), getattr(child, name)
        found = loosened(before, after, (name,)) if before is not None else None
        if found:
            raise file.error(in_file(found.where), f"looser than in {_of(parent)}: {found}")


def _refuse_unknown_fixtures(file: YamlFile, policy: Policy) -> None:
    for key in ("must_block", "must_pass") if policy.proof else ():
        for name in getattr(policy.proof, key):
            if name not in FIXTURES:
                hint = did_you_mean(name, list(FIXTURES))
                raise file.error(("proof", key), f"{key}: there is no fixture {name!r}{hint}")


def _of(policy: Policy | None) -> str:
    return f"the policy {policy.policy!r}" if policy else "its parent"


def _same_file(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()
