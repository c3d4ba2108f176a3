"""The `promote` deployment: what approvals that were given allow (pool `promote`).

Nobody answers here: a reviewer's private key is never where a worker runs. People sign with
`tidegate approve` and `refuse`; this finishes what their answers came to.
"""

from datetime import UTC, datetime
from pathlib import Path

from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed

from tidegate.flows.approving.promote import Looked, promote_approved
from tidegate.flows.deployments.parameters import ModelLine, VersionNumber
from tidegate.flows.home import Home
from tidegate.flows.rules import read_policy
from tidegate.gates.policy.proof import read_proof
from tidegate.gates.types import Action


@flow(name="promote")
def promote(
    model: ModelLine = "assistant",
    version: VersionNumber | None = None,
    policy: str | None = None,
    home: str | None = None,
    tracking_uri: str | None = None,
) -> State[None]:
    """Promote held versions that enough reviewers approved, after everything was checked again.

    One refusal rejects. What waits for more approvals, or is stale, is in the table with the
    reason. Killed at any step, the next run finishes it.

    Args:
        model: The model line.
        version: This version only, and an error if nothing can be decided about it; each that is
            held if none is given.
        policy: Refuse if this policy, a YAML file, or its proof, is not what the version had.
        home: Folder of the state; the worker's TIDEGATE_HOME if none is given.
        tracking_uri: MLflow's server; without one, a SQLite file in the home.
    """
    rules = (read_policy(Path(policy), None), read_proof(Path(policy))) if policy else None
    found = promote_approved(
        Home.find(Path(home) if home else None),
        model,
        version,
        datetime.now(UTC),
        tracking_uri=tracking_uri,
        rules=rules,
    )
    create_table_artifact(
        key="promote", table=table(found), description=f"What waited for people in {model}"
    )
    served = [one.version for one in found if one.action is Action.PROMOTE]
    if served:
        return Completed(name="Promoted", message=f"version {', '.join(served)} serves now")
    waits = sum(one.action is Action.HOLD for one in found)
    return Completed(name="NothingPromoted", message=f"{waits} wait for more approvals")


def table(found: tuple[Looked, ...]) -> list[dict[str, str]]:
    """One row a version: what it came to, who approved, what is missing, and why."""
    return [
        {
            "version": one.version,
            "came to": str(one.action or "cannot be decided"),
            "approved by": ", ".join(one.approved_by),
            "missing": str(one.missing),
            "why": one.why,
        }
        for one in found
    ]
