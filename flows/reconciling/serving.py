"""Nothing is served from, or continued from, a version that the ledger does not vouch for.

The registry checks a version's files against its tags; here both are checked against the signed
ledger. Cheap: the hashes of one adapter's two files.
"""

from tidegate.flows.home import Home
from tidegate.flows.ledger import Ledger
from tidegate.flows.reconciling.aliases import unfinished
from tidegate.flows.reconciling.compare import finished_in
from tidegate.flows.reconciling.expected import Expected, expected
from tidegate.flows.reconciling.files import adapter_changes
from tidegate.flows.reconciling.finding import Unreconciled
from tidegate.flows.registry import ANCHOR, CHAMPION, ModelVersionInfo, Registry
from tidegate.flows.reviewing.wording import short


def ledger_says(home: Home, model: str) -> Expected:
    """What must be about a model line; raises BrokenLedger."""
    return expected(Ledger(home.ledger).read(), model)


def require_aliases(home: Home, registry: Registry, must: Expected) -> None:
    """Raise Unreconciled unless `champion` and `anchor` are where the ledger has them.

    `champion` may still be at the version before, if a promotion was killed: whoever opens the
    line then finishes it. A rollback that was killed has to be finished first.
    """
    found = registry.aliases(must.model)
    late = must.moved_act != "rollback" and unfinished(must, found, finished_in(home))
    for name, target in ((CHAMPION, must.now.champion), (ANCHOR, must.now.anchor)):
        at = found.get(name)
        if at == target or (late and name == CHAMPION):
            continue
        raise Unreconciled(
            f"the alias {name} of {must.model!r} is at version {at or 'none'}, and the ledger "
            f"has it at version {target or 'none'} (statement {short(must.moved_by or '')}): it "
            f"was moved by hand, or a rollback was killed. {_run(must)}"
        )


def require_recorded(must: Expected, found: ModelVersionInfo) -> None:
    """Raise Unreconciled unless the ledger decided that these very files may serve."""
    where = f"version {found.version} of {must.model!r}"
    said = must.versions.get(found.version)
    if said is None:
        raise Unreconciled(
            f"the ledger knows nothing of {where}: do not serve it. {_run(must)}"
        )
    if not said.may_serve:
        why = "its weights were erased" if said.erased else f"it was decided {said.verdict!r}"
        raise Unreconciled(f"{where} may not serve: {why}. {_run(must)}")
    wrong = [
        f"{name} is {short(_or_none(have))}, decided was about {short(_or_none(want))}"
        for name, have, want in (
            ("base", found.candidate.base, said.subjects.get("base")),
            ("adapter", found.candidate.adapter, said.adapter),
        )
        if have != want
    ]
    if found.adapter is not None:
        wrong += [what for _, what in adapter_changes(found.adapter, said)]
    if wrong:
        raise Unreconciled(
            f"{where}: {'; '.join(wrong)} (statement {short(said.statement)}): the files were "
            f"changed after the decision, do not serve it. {_run(must)}"
        )


def _or_none(digest: str | None) -> str:
    return digest or "none"


def _run(must: Expected) -> str:
    return f"See: tidegate reconcile --model {must.model}"
