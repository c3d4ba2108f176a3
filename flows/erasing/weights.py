"""Copies of affected adapters: found in MLflow, the update's folder and the cache; the registry's
own are removed here, while the version's entry stays."""

from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from tidegate.flows.connection import asking
from tidegate.flows.erasing.plan import Unfinished, Weights
from tidegate.flows.home import Home
from tidegate.flows.registry import Registry

ADAPTER = "model/adapter"
ERASED_TAG = "gov.erased"
SUFFIX = ".safetensors"


def remove(registry: Registry, one: Weights | Unfinished, statement: str) -> None:
    """Delete the adapter's files from the version's run, and say so in its tags.

    From then on the version cannot be loaded, so no rollback and no waiver brings it back.
    statement: of the act `forget`. Idempotent. Raises RegistryError.
    """
    run_id = run_of(registry, one)
    if still_there(registry, run_id):
        with asking(f"delete the adapter of run {run_id} of {one.model!r}"):
            uri = registry.client.get_run(run_id).info.artifact_uri
            repository = get_artifact_repository(uri, tracking_uri=registry.client.tracking_uri)
            repository.delete_artifacts(ADAPTER)
    if one.version is not None:
        registry.annotate(one.model, one.version, {ERASED_TAG: statement})


def run_of(registry: Registry, one: Weights | Unfinished) -> str:
    """The run whose artifacts the adapter's files are."""
    if isinstance(one, Unfinished):
        return one.run_id
    return str(registry.find(one.model, one.version).run_id)


def left_of(home: Home, registry: Registry, one: Weights | Unfinished) -> bool:
    """Whether a copy of an affected adapter is still there."""
    local = any((home.updates / one.update_id).rglob(f"*{SUFFIX}"))
    name = (one.adapter or "").removeprefix("sha256:")
    cached = bool(name) and (home.cache / "adapters" / name).exists()
    return local or cached or still_there(registry, run_of(registry, one))


def still_there(registry: Registry, run_id: str) -> bool:
    with asking(f"look for the adapter of run {run_id}"):
        return bool(registry.client.list_artifacts(run_id, ADAPTER))
