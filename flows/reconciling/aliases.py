"""Aliases and gov.* tags of a model line, compared with what the ledger says."""

from collections.abc import Iterator, Mapping

from tidegate.flows.reconciling.expected import Aliases, Expected, Finished, Said
from tidegate.flows.reconciling.finding import Finding, Kind, shown
from tidegate.flows.registry import ANCHOR, CHAMPION, PREVIOUS
from tidegate.flows.reviewing.wording import short
from tidegate.flows.tracking import UPDATE_TAG
from tidegate.flows.versions import CANDIDATE_TAGS, STATEMENT_TAG, VERDICT_TAG, Version

NAMES = (CHAMPION, PREVIOUS, ANCHOR)


def unfinished(must: Expected, found: Mapping[str, str], finished: Finished) -> bool:
    """Whether the aliases are where a process that was killed would have left them.

    A promotion sets `previous` and then `champion`, a rollback the other way round.
    """
    old, new = must.before, must.now
    at = (found.get(CHAMPION), found.get(PREVIOUS))
    if must.moved_act == "bless":
        begun = at in {(None, None), (new.champion, None)}
        return must.only_blessed and begun and found.get(ANCHOR) is None
    if found.get(ANCHOR) != new.anchor or new.champion is None:
        return False
    if must.moved_act == "rollback":
        return at in {(old.champion, old.previous), (new.champion, old.previous)}
    begun = at in {(old.champion, old.previous), (old.champion, new.previous)}
    return begun and not finished(must.versions[new.champion])


def alias_findings(
    must: Expected, found: Mapping[str, str], finished: Finished
) -> Iterator[Finding]:
    """Aliases that are not where the ledger has them."""
    wrong = alias_changes(must, found)
    if not wrong:
        return
    if unfinished(must, found, finished):
        yield _unfinished(must, found)
        return
    since = f"the ledger has it at {{}} (statement {short(must.moved_by or '')})"
    for name, target in wrong.items():
        at = found.get(name)
        what = f"{name} was deleted" if at is None else f"{name} points at version {at}"
        if at is not None:
            what += _remark(must, at)
        where = "no version" if target is None else f"version {target}"
        do = f"find out who moved it; tidegate reconcile --model {must.model} --repair"
        if target is not None and not must.holds(target):
            do = f"tidegate rollback --model {must.model} --to VERSION, to one that may serve"
            where += ", which may not serve any more"
        yield Finding(
            kind=Kind.ALIAS_MISSING if at is None else Kind.ALIAS_MOVED,
            model=must.model,
            version=at or target or "",
            what=f"{what}; {since.format(where)}",
            do=do,
        )


def alias_changes(must: Expected, found: Mapping[str, str]) -> dict[str, str | None]:
    """Where aliases must be moved, None to delete one, so that they are as the ledger says."""
    wanted = {CHAMPION: must.now.champion, PREVIOUS: must.previous, ANCHOR: must.now.anchor}
    wrong = {name: target for name, target in wanted.items() if found.get(name) != target}
    if found.get(PREVIOUS) is None and must.previous != must.now.previous:
        wrong.pop(PREVIOUS, None)  # what it pointed at was erased; it need not point further
    if must.now.champion in must.versions and not must.holds(must.now.champion):
        wrong[CHAMPION] = must.now.champion  # it is where it was put, and may not serve
    return wrong


def tag_changes(said: Said, found: Mapping[str, str]) -> dict[str, str | None]:
    """gov.* tags that must be set, None to delete one, so that they are as the statement says."""
    wanted: dict[str, str | None] = {
        VERDICT_TAG: said.verdict,
        STATEMENT_TAG: said.statement,
        UPDATE_TAG: said.update_id,
    }
    for tag, field in CANDIDATE_TAGS.items():
        wanted[tag] = said.parent if field == "parent" else said.subjects.get(field)
    if "policy" in said.subjects:
        wanted["gov.policy_digest"] = said.subjects["policy"]
    return {tag: value for tag, value in wanted.items() if found.get(tag) != value}


def tag_findings(
    must: Expected, said: Said, version: Version, finished: Finished
) -> Iterator[Finding]:
    """Tags of one version that are not what its statement says."""
    wrong = tag_changes(said, version.tags)
    if not wrong:
        return
    behind = version.tags.get(STATEMENT_TAG) in (None, *said.earlier)
    if behind and wrong.keys() <= {STATEMENT_TAG, VERDICT_TAG} and not finished(said):
        yield Finding(
            kind=Kind.UNFINISHED,
            model=must.model,
            version=said.version,
            what=f"statement {short(said.statement)} was written, and its tags were not: a "
            f"process was killed in {said.update_id}",
            do="run the same command again; it finishes what was begun",
        )
        return
    listed = "; ".join(
        f"{tag} is {shown(version.tags.get(tag))}, the statement says {shown(value)}"
        for tag, value in wrong.items()
    )
    yield Finding(
        kind=Kind.TAG_OVERWRITTEN,
        model=must.model,
        version=said.version,
        what=f"{listed} (statement {short(said.statement)})",
        do=f"find out who changed it; tidegate reconcile --model {must.model} --repair",
    )


def _remark(must: Expected, at: str) -> str:
    said = must.versions.get(at)
    if said is None:
        return ", which the ledger knows nothing of"
    if said.erased:
        return ", whose weights were erased"
    return "" if said.may_serve else f", which was decided {said.verdict!r} and never promoted"


def _unfinished(must: Expected, found: Mapping[str, str]) -> Finding:
    new: Aliases = must.now
    do = "run the same command again; it finishes what was begun"
    if must.moved_act == "rollback":
        do = f"tidegate rollback --model {must.model} --to {new.champion}, as before, finishes it"
    what = {"bless": "blessing", "decide": "promotion", "rollback": "rollback"}[must.moved_act]
    return Finding(
        kind=Kind.UNFINISHED,
        model=must.model,
        version=new.champion or "",
        what=f"the {what} of version {new.champion} is in the ledger (statement "
        f"{short(must.moved_by or '')}), and the aliases were not all moved "
        f"(champion is at {found.get(CHAMPION) or 'nothing'}): a process was killed in between",
        do=do,
    )
