"""The `rollback` deployment: it moves aliases and signs, so it runs on the pool `promote`."""

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import FlowRun, State
from prefect.flows import Flow

from tidegate.flows import rollback as rolling
from tidegate.flows.deployments.parameters import ModelLine, Name, Reason, VersionNumber
from tidegate.flows.home import Home

MODEL = "assistant"


def _reported(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Prefect knows the end by now: the same run started again would be another rollback."""
    given = flow_run.parameters
    place = Home.find(Path(given["home"]) if given.get("home") else None)
    rolling.reported(place, given.get("model", MODEL), reason=given["reason"], by=given["by"])


@flow(name="rollback", persist_result=True, on_completion=[_reported])
def rollback(
    reason: Reason,
    by: Name,
    model: ModelLine = MODEL,
    to: VersionNumber | None = None,
    home: str | None = None,
    tracking_uri: str | None = None,
) -> dict[str, str]:
    """Serve an earlier version again; recorded in the ledger before the alias moves.

    Killed at any step, the same run started again finishes it, and goes no further back.

    Args:
        reason: Why; it goes into the ledger, for ever. No text of users.
        by: Who asks for it; it goes into the ledger too. Prefect does not know who you are.
        model: The model line.
        to: The version to serve again; the one before the champion if none is given.
        home: Folder of the state; the worker's TIDEGATE_HOME if none is given.
        tracking_uri: MLflow's server; without one, a SQLite file in the home.
    """
    place = Home.find(Path(home) if home else None)
    return rolling.rollback(
        model, place, to=to, reason=reason, tracking_uri=tracking_uri, by=by
    )
