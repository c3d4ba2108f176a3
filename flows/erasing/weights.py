"""The registry's own copies of affected adapters: removed, while the version's entry stays."""

from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from tidegate.flows.erasing.plan import Weights
from tidegate.flows.registry import Registry
from tidegate.flows.tracking import asking

ADAPTER = "model/adapter"
ERASED_TAG = "gov.erased"


def remove(registry: Registry, one: Weights, statement: str) -> None:
    """Delete the adapter's files from the version's run, and say so in its tags.

    From then on the version cannot be loaded, so no rollback and no waiver brings it back.
    statement: of the act `forget`. Idempotent. Raises RegistryError.
    """
    run_id = registry.find(one.model, one.version).run_id
    if still_there(registry, one):
        with asking(f"delete the adapter of version {one.version} of {one.model!r}"):
            uri = registry.client.get_run(run_id).info.artifact_uri
            repository = get_artifact_repository(uri, tracking_uri=registry.client.tracking_uri)
            repository.delete_artifacts(ADAPTER)
    registry.annotate(one.model, one.version, {ERASED_TAG: statement})


def still_there(registry: Registry, one: Weights) -> bool:
    run_id = registry.find(one.model, one.version).run_id
    with asking(f"look for the adapter of version {one.version} of {one.model!r}"):
        return bool(registry.client.list_artifacts(run_id, ADAPTER))
