"""The `forget` deployment: an erasure by marks (pool `promote`); no id and no name is given.

Prefect stores the parameters of every run, so what a form asks for may not be personal data.
`tidegate forget … --plan`, where the names are known, prints the marks (keyed with the home's
own key, as the ledger has them) and the request that they make. A file of names in the home
was the other way: it would be one more place that holds them, and that a kill leaves behind.
"""

from pathlib import Path

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from tidegate.flows.deployments.parameters import Mark, ModelLine, Name, Reason, Request
from tidegate.flows.erasing.forget import forget as erase
from tidegate.flows.erasing.state import request_of
from tidegate.flows.home import Home
from tidegate.flows.tracing.wanted import Wanted
from tidegate.flows.usage import UsageError

STATES = {0: "Erased", 2: "NotRebuilt"}


@flow(name="forget-by-marks")
def forget(
    request: Request,
    reason: Reason,
    by: Name,
    records: list[Mark] | None = None,
    authors: list[Mark] | None = None,
    model: ModelLine | None = None,
    rebuild: bool = True,
    twin: bool = False,
    home: str | None = None,
    tracking_uri: str | None = None,
) -> State[None]:
    """Erase records or authors for good: stores, weights, and a rebuild without them.

    Killed at any step, the same run started again goes on. Ends NotRebuilt if a gate stopped the
    rebuild, and Failed if something was still found.

    Args:
        request: What `tidegate forget --plan` printed, as f-0123456789abcdef0123: it has to be
            that of the marks below, so that none is missing or mistyped.
        reason: Why; it goes into the ledger, for ever, so name nobody.
        by: Who asks for it; it goes into the ledger too. Prefect does not know who you are.
        records: Marks of records, as the plan printed them. Never ids.
        authors: Marks of authors, as the plan printed them. Never names.
        model: Refuse if another model line is reached too.
        rebuild: Repeat the affected updates without the rows; else the last clean version serves.
        twin: Also train a never-trained twin, and compare the rebuilt version.
        home: Folder of the state; the worker's TIDEGATE_HOME if none is given.
        tracking_uri: MLflow's server; without one, a SQLite file in the home.
    """
    wanted = Wanted(frozenset(records or ()), frozenset(authors or ()))
    if request_of(wanted) != request:
        raise UsageError(
            f"these marks are not those of {request}; copy all that "
            "`tidegate forget … --plan` printed"
        )
    if twin and not rebuild:
        raise UsageError("twin compares what was rebuilt; leave rebuild on")
    done = erase(
        records=sorted(wanted.records),
        authors=sorted(wanted.authors),
        home=str(Home.find(Path(home) if home else None).root),
        model=model,
        reason=reason,
        who=by,
        tracking_uri=tracking_uri,
        again=rebuild,
        compare=twin,
    )
    said = f"{len(done.state.batches)} batches, {len(done.state.plan.weights)} versions"
    name = STATES.get(done.exit_code)
    if name is None:
        return Failed(message=f"{said}; something is left: see erasing/{request}/state.json")
    return Completed(name=name, message=said)
