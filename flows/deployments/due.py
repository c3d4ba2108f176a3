"""The `update-when-due` deployment: it looks (pool `data`), and asks for an update if it is time.

The update itself runs as its own deployment, on its own pool: who looks needs no credentials
of the registry.
"""

from pathlib import Path
from typing import Any, cast

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterIdempotencyKey
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.states import Completed
from pydantic import TypeAdapter

from tidegate.flows.deployments.parameters import Age, ModelLine, Rows
from tidegate.flows.home import Home
from tidegate.flows.waking import look
from tidegate.gates.policy.values import Duration


@flow(name="update-when-due", persist_result=True)
def update_when_due(
    drops: list[str],
    model: ModelLine = "assistant",
    rows: Rows = 200,
    age: Age = "7d",
    drift: bool = False,
    deployment: str = "update/update",
    defaults: dict[str, str] | None = None,
    home: str | None = None,
) -> Any:
    """Start an update if there are enough new rows, or it is too long since the last one.

    The same rows ask once, while they wait for a worker as after an update that failed on them.
    After one that crashed, whose process was killed or lost its machine, they ask once more: it
    goes on where it was. A second crash waits for a person, or for more rows.

    Args:
        drops: Files, folders or globs of records.
        model: The model line.
        rows: So many new rows are enough.
        age: So long after the last update any new row is enough, as 7d or 12h.
        drift: Any new row is enough if the drops have drifted from what was learned.
        deployment: Which deployment to start, as FLOW/NAME.
        defaults: Values for fields that a drop does not have.
        home: Folder of the state; the worker's TIDEGATE_HOME if none is given.
    """
    found = look(
        drops,
        Home.find(Path(home) if home else None),
        model,
        rows=rows,
        age=TypeAdapter(Duration).validate_python(age),
        defaults=defaults or {},
        drifting=drift,
    )
    if not found.due:
        return Completed(name="NotDue", message=found.reason)
    asked = {"drops": drops, "model": model, "home": home, "defaults": defaults}
    key = f"{model} {found.last} {found.new_rows}"
    started = run_deployment(
        deployment,
        parameters={name: value for name, value in asked.items() if value is not None},
        timeout=0,  # do not wait for its end
        as_subflow=False,
        idempotency_key=f"{key} once more" if _crashed(key) else key,
    )
    name = cast(FlowRun, started).name  # it is a coroutine in an event loop only
    return Completed(name="Due", message=f"{found.reason}; asked for {name}")


def _crashed(key: str) -> bool:
    """Whether the run that was asked for under this key crashed."""
    named = FlowRunFilter(idempotency_key=FlowRunFilterIdempotencyKey(any_=[key]))
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(flow_run_filter=named)
    return any(run.state is not None and run.state.is_crashed() for run in runs)
