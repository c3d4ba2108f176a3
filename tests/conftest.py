"""Surroundings of every test: no network, a Prefect home of its own, no telemetry."""

import os

# Before torch is loaded: tests side by side with a thread for every core each would stand in
# one another's way. Not as a default: the process that started this one has set it for itself.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tidegate.flows.environment import prepare
from tidegate.flows.home import Home

# Before anything reads it: a developer's own Prefect server or MLflow must not be touched.
_SURROUNDINGS = tempfile.mkdtemp(prefix="tidegate-tests-")
os.environ["PREFECT_HOME"] = f"{_SURROUNDINGS}/prefect"
for _name in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI", "TIDEGATE_HOME"):
    os.environ.pop(_name, None)
os.environ["TIDEGATE_FLOOR"] = str(Path(__file__).parent / "floor.yaml")
prepare(Home(Path(_SURROUNDINGS)))


@pytest.fixture(scope="session", autouse=True)
def _working_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing that a test writes by a relative path may land in the checkout."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("cwd"))
    yield
    os.chdir(before)


@pytest.fixture(scope="module")
def floor_of_batches() -> Iterator[None]:
    """For modules whose policies ask about the batch alone."""
    before = os.environ["TIDEGATE_FLOOR"]
    os.environ["TIDEGATE_FLOOR"] = str(Path(__file__).parent / "floor_of_batches.yaml")
    yield
    os.environ["TIDEGATE_FLOOR"] = before


@pytest.fixture(scope="module")
def one_engine() -> Iterator[None]:
    """For modules that start or kill many processes: all of them run on this one's server."""
    from prefect.server.api.server import SubprocessASGIServer

    from tidegate.flows.engine import start_engine

    start_engine()
    os.environ["PREFECT_API_URL"] = SubprocessASGIServer().api_url
    yield
    del os.environ["PREFECT_API_URL"]


@pytest.fixture(scope="module")
def few_packages() -> Iterator[None]:
    """For modules that publish many times: the time that a bill of materials takes to be held
    against its schema grows with the square of the packages, to about a second with all of them."""
    from tidegate.flows import provenance

    installed = list(provenance.distributions())[:8]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(provenance, "distributions", lambda: installed)
        provenance.environment.cache_clear()
        yield
    provenance.environment.cache_clear()


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """For a tiny model: two threads on it only wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, by how long they may take: none is left to run alone at the end."""

    def allowed(item: pytest.Item) -> float:
        mark = item.get_closest_marker("timeout")
        return float(mark.args[0]) if mark and mark.args else 0.0

    items.sort(key=lambda item: -allowed(item))  # stable: the rest keeps its order
