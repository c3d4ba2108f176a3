"""prefect.yaml on a Prefect server with a password and PostgreSQL, with a worker that runs it."""

import base64
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.drops import rows, write
from tests.services import engine, free_port, postgres, process, until_healthy
from tests.test_update import World
from tidegate.flows.ledger import Ledger
from tidegate.flows.registry import Registry

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
POOLS = {
    deployment["name"]: deployment["work_pool"]["name"]
    for deployment in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
}


@dataclass(frozen=True)
class Server:
    environment: Mapping[str, str]
    folder: Path

    def prefect(self, *words: str) -> None:
        self.run("prefect", "--no-prompt", *words)

    def run(self, *command: str) -> None:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=dict(self.environment),
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self, name: str, given: Mapping[str, Any]) -> None:
        words = [f"--param={key}={json.dumps(value)}" for key, value in given.items()]
        self.prefect("deployment", "run", f"{name}/{name}", *words)

    @contextmanager
    def worker(self, pool: str) -> Iterator[Path]:
        """One that answers for its health, as the containers' do; gives its log."""
        port, log = free_port(), self.folder / f"{pool}.log"
        environment = {**self.environment, "PREFECT_WORKER_WEBSERVER_PORT": str(port)}
        command = ["prefect", "worker", "start", "--pool", pool, "--type", "process"]
        with process([*command, "--with-healthcheck"], log, environment, cwd=ROOT) as child:
            until_healthy(f"http://127.0.0.1:{port}/health", child, log)
            yield log

    def ask(self, path: str, body: dict[str, Any]) -> Any:
        login = base64.b64encode(self.environment["PREFECT_API_AUTH_STRING"].encode()).decode()
        request = urllib.request.Request(
            f"{self.environment['PREFECT_API_URL']}/{path}",
            json.dumps(body).encode(),
            {"Content-Type": "application/json", "Authorization": f"Basic {login}"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def runs(self, name: str) -> list[dict[str, Any]]:
        """The runs of a deployment that its clock did not start."""
        asked = {"deployments": {"name": {"any_": [name]}}}
        found: list[dict[str, Any]] = self.ask("flow_runs/filter", asked)
        return [run for run in found if not run["auto_scheduled"]]

    def wait_for(self, name: str, wanted: Any) -> dict[str, Any]:
        end = time.monotonic() + 150
        while time.monotonic() < end:
            for run in self.runs(name):
                if wanted(run):
                    return run
            time.sleep(0.5)
        raise AssertionError(f"{name}: {self.runs(name)}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("engine")
    with postgres("prefect") as database, engine(folder, database) as environment:
        environment |= {
            "MLFLOW_TRACKING_URI": "http://mlflow.example:5000",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        made = Server(environment, folder)
        made.run("sh", "infra/deploy.sh")
        yield made


def test_all_deployments_are_made_on_their_pools(server: Server) -> None:
    found = {d["name"]: d for d in server.ask("deployments/filter", {})}
    assert {name: d["work_pool_name"] for name, d in found.items()} == POOLS
    update = found["update"]
    assert update["parameters"]["tracking_uri"] == "http://mlflow.example:5000"
    assert update["global_concurrency_limit"]["limit"] == 1
    assert update["concurrency_options"]["collision_strategy"] == "ENQUEUE"
    assert update["job_variables"]["env"]["HF_HUB_OFFLINE"] == "1"
    assert found["update-when-due"]["schedules"][0]["schedule"]["cron"] == "*/15 * * * *"


def test_a_wrong_password_is_refused(server: Server) -> None:
    wrong = Server({**server.environment, "PREFECT_API_AUTH_STRING": "admin:no"}, server.folder)
    with pytest.raises(urllib.error.HTTPError, match="401"):
        wrong.ask("deployments/filter", {})


def test_the_pool_promote_runs_the_update(server: Server) -> None:
    """The whole flow in a worker's process: a drop too small is refused, and recorded.

    Before the tests that leave other updates waiting: the limit lets one run at a time.
    """
    world = World(server.folder / "world")
    given = world.arguments(write(server.folder / "small.jsonl", rows(5)))
    server.start("update", {**given, "tracking_uri": None})
    with server.worker("promote") as log:
        done = server.wait_for(
            "update",
            lambda run: run["parameters"]["model"] == "tiny" and run["end_time"] is not None,
        )
    assert done["state"]["type"] == "COMPLETED", done["state"]["message"] + log.read_text()
    verdicts = [v.verdict for v in Registry.open(world.home).versions("tiny")]
    assert verdicts == ["blessed", "reject"]
    assert Ledger(world.home.ledger).read()[-1][1]["predicate"]["about"]["action"] == "reject"


def test_a_new_drop_asks_for_an_update(server: Server) -> None:
    """The command that whoever delivers a drop runs, as prefect.yaml says."""
    about = ("--resource-id", "tidegate.line.assistant")
    server.prefect("event", "emit", "tidegate.drop.arrived", *about)
    run = server.wait_for("update", lambda run: run["created_by"]["type"] == "AUTOMATION")
    assert run["parameters"]["drops"] == ["drops/*.jsonl"]


def test_the_pool_data_looks_and_asks_for_an_update(server: Server) -> None:
    """Without any credential of the registry; the update itself waits for `promote`."""
    drop = write(server.folder / "monday.jsonl", rows(24))
    home = str(server.folder / "home")
    given = {"drops": [str(drop)], "rows": 24, "home": home, "model": "support"}
    server.start("update-when-due", given)
    with server.worker("data") as log:
        seen = server.wait_for("update-when-due", lambda run: run["state"]["name"] == "Due")
    assert "enough new rows: 24 new rows of 24" in seen["state"]["message"], log.read_text()
    asked = server.wait_for("update", lambda run: run["parameters"]["model"] == "support")
    assert asked["parameters"]["drops"] == [str(drop)]
    assert asked["parameters"]["home"] == home
