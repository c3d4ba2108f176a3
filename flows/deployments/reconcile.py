"""The `reconcile` deployment: ledger and registry compared; it fails if they differ."""

from pathlib import Path

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from tidegate.flows.deployments.parameters import ModelLine
from tidegate.flows.home import Home
from tidegate.flows.notifying import tell_findings
from tidegate.flows.reconciling.compare import compare
from tidegate.flows.reconciling.show import findings_page, summary


@flow(name="reconcile")
def reconcile(
    model: ModelLine | None = None, home: str | None = None, tracking_uri: str | None = None
) -> State[None]:
    """Compare one model line, or all of them, with the ledger; changes nothing.

    Ends Failed if there are findings, which are told ($TIDEGATE_NOTIFY), and raises if
    the ledger is broken or MLflow does not answer.

    Args:
        model: The model line; all of them if none is named.
        home: Folder of local state; where the worker keeps it if none is named.
        tracking_uri: MLflow server; a SQLite file in the home otherwise.
    """
    place = Home.find(Path(home) if home else None)
    compared = compare(place, model, tracking_uri)
    create_markdown_artifact(
        key="reconcile",
        markdown=findings_page(compared),
        description="Ledger and registry, compared",
    )
    tell_findings(place, compared.findings)
    said = summary(compared)
    return Failed(message=said) if compared.findings else Completed(message=said)
