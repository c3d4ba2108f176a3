"""Surroundings of every test: no network, a Prefect home of its own, no telemetry."""

import os
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
