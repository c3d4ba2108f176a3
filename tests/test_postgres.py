"""The registry and the engine on what a deployment runs: PostgreSQL, accounts, an S3 store."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.services import Store, Tracking, object_store, postgres, tracking
from tests.test_update import World
from tidegate.flows.home import Home
from tidegate.flows.ledger import Ledger
from tidegate.flows.one_update import UpdateResult
from tidegate.flows.registry import Registry, RegistryError
from tidegate.flows.rollback import rollback
from tidegate.gates.types import Action

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("floor_of_batches")]
ACCOUNT = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")


@dataclass(frozen=True)
class Shared:
    """A model line of one update, in MLflow's server."""

    world: World
    server: Tracking
    store: Store
    first: UpdateResult

    def registry(self) -> Registry:
        return Registry.open(self.world.home, self.server.url)

    @property
    def aliases(self) -> dict[str, str]:
        return self.registry().aliases("tiny")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    from tidegate.flows.update import update

    folder = tmp_path_factory.mktemp("shared")
    with (
        postgres("mlflow", "mlflow_accounts") as database,
        object_store(folder) as store,
        tracking(folder, database, store) as server,
        pytest.MonkeyPatch.context() as environment,
    ):
        for name, value in server.account("admin").items():
            environment.setenv(name, value)
        world = World(folder / "world")
        first = update(**world.arguments(world.clean), tracking_uri=server.url)
        yield Shared(world, server, store, first)


@pytest.fixture
def act_as(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> Any:
    def become(name: str, password: str | None) -> None:
        for variable, value in zip(ACCOUNT, (name, password), strict=True):
            if value is None:
                monkeypatch.delenv(variable)
            else:
                monkeypatch.setenv(variable, value)

    return become


def test_an_update_is_promoted(shared: Shared) -> None:
    assert shared.first.decision.action is Action.PROMOTE, shared.first.decision
    assert shared.aliases == {"champion": "2", "candidate": "2", "previous": "1", "anchor": "1"}
    assert not shared.world.home.mlflow_database.exists(), "it went to the server alone"


def test_files_go_through_the_proxy_into_the_store(shared: Shared) -> None:
    """Whoever updates has no key of the store."""
    assert not {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} & set(os.environ)
    stored = shared.store.names()
    assert any(name.endswith("adapter_model.safetensors") for name in stored)
    assert any("/report/" in name or name.endswith("report.html") for name in stored)
    registry = shared.registry()
    assert registry.client.get_run(shared.first.run_id).info.artifact_uri.startswith(
        "mlflow-artifacts:"
    )
    # From another machine: a home that never saw the adapter.
    elsewhere = Registry.open(Home(shared.world.folder / "elsewhere"), shared.server.url)
    loaded = elsewhere.load("tiny", "2")
    assert loaded.adapter is not None
    assert loaded.candidate.adapter == registry.load("tiny", "2").candidate.adapter


def test_the_same_update_again_is_found_not_made(shared: Shared) -> None:
    from tidegate.flows.update import update

    again = update(**shared.world.arguments(shared.world.clean), tracking_uri=shared.server.url)
    assert (again.repeated, again.version) == (True, "2")


@pytest.mark.parametrize("who", ["a wrong password", "nobody"])
def test_a_wrong_password_is_one_clear_error(shared: Shared, act_as: Any, who: str) -> None:
    wrong = "not-the-password"
    if who == "nobody":
        act_as(None, None)
    else:
        act_as("admin", wrong)
    began = time.monotonic()
    with pytest.raises(RegistryError, match="MLFLOW_TRACKING_PASSWORD") as refused:
        shared.registry()
    assert time.monotonic() - began < 10
    assert shared.server.url in str(refused.value)
    assert wrong not in str(refused.value)


def test_who_may_only_read_moves_nothing(shared: Shared, act_as: Any) -> None:
    """The pool `data` may look into the registry; what it tries to change is refused."""
    shared.server.make_reader()
    before = shared.aliases
    act_as("reader", shared.server.passwords["reader"])
    registry = shared.registry()
    assert registry.aliases("tiny") == before
    assert registry.load("tiny", "2").adapter is not None
    written = len(Ledger(shared.world.home.ledger).read())
    with pytest.raises(RegistryError, match="may not"):
        registry.promote("tiny", "2", was="1", statement=shared.first.statement)
    with pytest.raises(RegistryError, match="may not"):
        registry.point_candidate("tiny", "1")
    act_as("admin", shared.server.passwords["admin"])
    assert shared.aliases == before
    assert len(Ledger(shared.world.home.ledger).read()) == written


def test_a_rollback_serves_the_base_again(shared: Shared) -> None:
    from tidegate.flows.deployments.rollback import rollback as deployed

    done = deployed(
        reason="a test on PostgreSQL",
        by="ada",
        model="tiny",
        home=str(shared.world.home.root),
        tracking_uri=shared.server.url,
    )
    assert (done["was"], done["now"]) == ("2", "1")
    assert shared.aliases["champion"] == "1"
    digest, record = Ledger(shared.world.home.ledger).read()[-1]
    assert digest == done["statement"]
    assert record["predicate"]["about"]["by"] == "ada"
    with pytest.raises(RegistryError, match="2"):  # it had to go
        rollback(
            "tiny", shared.world.home, to="2", reason="back", tracking_uri=shared.server.url
        )
