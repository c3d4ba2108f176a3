"""Updates that were killed before their statement: they left weights that no statement names.

MLflow and the lineage say what they were: the run carries the update's id and the champion that
it continued, the lineage its rows. One that learned a wanted row goes, one whose champion is
affected goes, and so does one of which neither can be told: an update is made again by running it.
"""

from collections.abc import Iterator

import pyarrow as pa

from tidegate.flows.connection import asking
from tidegate.flows.erasing.plan import Plan, Unfinished
from tidegate.flows.erasing.weights import left_of
from tidegate.flows.home import Home
from tidegate.flows.ledger import Ledger
from tidegate.flows.registry import BLESSED, Registry
from tidegate.flows.tracing import index
from tidegate.flows.tracing.steps import read_steps
from tidegate.flows.tracing.wanted import Wanted
from tidegate.flows.tracking import UPDATE_TAG
from tidegate.flows.versions import VERDICT_TAG

PAGE = 1000


def unfinished(
    home: Home, registry: Registry, plan: Plan, wanted: Wanted
) -> tuple[Unfinished, ...]:
    """Those that may hold something of the rows and still have weights. Raises RegistryError."""
    decided = {step.update_id for step in read_steps(home).values()}
    affected = {(one.model, one.version) for one in plan.versions}
    return tuple(
        one
        for model in sorted(Ledger(home.ledger).model_lines())
        for one, parent in _runs(registry, model, decided)
        if _may_hold(home, one, parent, affected, wanted) and left_of(home, registry, one)
    )


def _runs(
    registry: Registry, model: str, decided: set[str]
) -> Iterator[tuple[Unfinished, str | None]]:
    """Runs of updates without a statement, each with the champion that it continued."""
    from mlflow.entities import ViewType

    versions = {
        version.run_id: version
        for version in registry.versions(model)
        if version.tags.get(VERDICT_TAG) != BLESSED
    }
    with asking(f"list the runs of {model!r}"):
        experiment = registry.client.get_experiment_by_name(model)
    token, more = None, experiment is not None
    while more:
        with asking(f"list the runs of {model!r}"):
            page = registry.client.search_runs(
                [experiment.experiment_id], "", ViewType.ALL, PAGE, page_token=token
            )
        for run in page:
            update_id, version = run.data.tags.get(UPDATE_TAG), versions.get(run.info.run_id)
            base = version is None and run.data.params.get("parent") is None
            if update_id is None or update_id in decided or base:
                continue  # a stage, an update that was decided, or the bare base
            one = Unfinished(
                model=model,
                update_id=update_id,
                run_id=run.info.run_id,
                version=version.version if version else None,
                adapter=version.tags.get("gov.adapter_digest") if version else None,
            )
            yield one, run.data.params.get("parent")
        token, more = page.token, bool(page.token)


def _may_hold(
    home: Home,
    one: Unfinished,
    parent: str | None,
    affected: set[tuple[str, str]],
    wanted: Wanted,
) -> bool:
    trace = index.noted(home, one.update_id)
    if trace is None or parent is None or (one.model, parent) in affected:
        return True
    marks = (pa.array(sorted(m), pa.string()) for m in (wanted.records, wanted.authors))
    fates = trace.marked(*marks)["fate"].to_pylist()
    return bool(set(fates) & set(index.IN_THE_WEIGHTS))
