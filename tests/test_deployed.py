"""prefect.yaml on a Prefect server with a password and PostgreSQL, with a worker that runs it."""

import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from tests.deployed import ROOT, Server
from tests.drops import rows, write
from tests.services import engine, postgres
from tests.test_update import World
from tidegate.flows.ledger import Ledger
from tidegate.flows.registry import Registry

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("floor_of_batches")]
POOLS = {
    deployment["name"]: deployment["work_pool"]["name"]
    for deployment in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
}


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


def test_the_clock_of_prefect_makes_runs(server: Server) -> None:
    """Every quarter of an hour, as prefect.yaml says: they are made ahead, within seconds."""
    asked = {"deployments": {"name": {"any_": ["update-when-due"]}}}
    end = time.monotonic() + 20
    while not (found := server.ask("flow_runs/filter", asked)) and time.monotonic() < end:
        time.sleep(0.5)
    assert any(run["auto_scheduled"] for run in found)


def test_the_automation_is_there_once_however_often_it_is_deployed(server: Server) -> None:
    server.run(sys.executable, "infra/automations.py")
    (found,) = [
        a for a in server.ask("automations/filter", {}) if a["name"] == "unresponsive runs"
    ]
    assert found["enabled"]
    assert found["actions"][0]["state"] == "CRASHED"
    for deployment in server.ask("deployments/filter", {}):
        assert deployment["job_variables"]["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == "30"


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
    with server.worker("promote") as worker:
        done = server.wait_for(
            "update",
            lambda run: run["parameters"]["model"] == "tiny" and run["end_time"] is not None,
        )
    assert done["state"]["type"] == "COMPLETED", (
        done["state"]["message"] + worker.log.read_text()
    )
    verdicts = [v.verdict for v in Registry.open(world.home).versions("tiny")]
    assert verdicts == ["blessed", "reject"]
    assert Ledger(world.home.ledger).read()[-1][1]["predicate"]["about"]["action"] == "reject"


def test_a_new_drop_asks_for_an_update(server: Server) -> None:
    """The command that whoever delivers a drop runs, as prefect.yaml says."""
    about = ("--resource-id", "tidegate.line.assistant")
    server.prefect("event", "emit", "tidegate.drop.arrived", *about)
    run = server.wait_for(
        "update",
        # Nobody is named for a run that was asked for otherwise.
        lambda run: (run["created_by"] or {}).get("type") == "AUTOMATION",
    )
    assert run["parameters"]["drops"] == ["drops/*.jsonl"]


def test_the_pool_data_looks_and_asks_for_an_update(server: Server) -> None:
    """Without any credential of the registry; the update itself waits for `promote`."""
    drop = write(server.folder / "monday.jsonl", rows(24))
    home = str(server.folder / "home")
    given = {"drops": [str(drop)], "rows": 24, "home": home, "model": "support"}
    server.start("update-when-due", given)
    with server.worker("data") as worker:
        seen = server.wait_for("update-when-due", lambda run: run["state"]["name"] == "Due")
    assert "enough new rows: 24 new rows of 24" in seen["state"]["message"], (
        worker.log.read_text()
    )
    asked = server.wait_for("update", lambda run: run["parameters"]["model"] == "support")
    assert asked["parameters"]["drops"] == [str(drop)]
    assert asked["parameters"]["home"] == home


def test_after_a_crash_the_same_rows_ask_once_more(server: Server) -> None:
    drop = write(server.folder / "tuesday.jsonl", rows(24))
    given = {"drops": [str(drop)], "rows": 24, "home": str(server.folder / "crashed")}
    given |= {"model": "crashed"}
    crashed = {"state": {"type": "CRASHED", "message": "its process is gone"}, "force": True}

    def asked() -> list[dict[str, Any]]:
        return [r for r in server.runs("update") if r["parameters"]["model"] == "crashed"]

    seen = {run["id"] for run in server.runs("update-when-due")}
    with server.worker("data"):
        for wanted in (1, 2, 2):
            server.start("update-when-due", given)
            looked = server.wait_for(
                "update-when-due",
                lambda run: run["id"] not in seen and run["state"]["name"] == "Due",
            )
            seen.add(looked["id"])
            assert len(asked()) == wanted, looked["state"]["message"]
            for run in asked():
                server.ask(f"flow_runs/{run['id']}/set_state", crashed)


def test_a_run_whose_process_is_gone_is_crashed_and_the_next_one_begins(server: Server) -> None:
    """Nobody tells Prefect: no heartbeat does. The place of the dead run is free again."""
    world = World(server.folder / "killed")
    given = world.arguments(write(server.folder / "killed.jsonl", rows(24)))
    given |= {"tracking_uri": None, "model": "killed"}

    def mine(run: dict[str, Any]) -> bool:
        return bool(run["parameters"]["model"] == "killed")

    for run in server.runs("update"):  # of the tests before, which would be taken first
        server.ask(f"flow_runs/{run['id']}", {}, "DELETE")
    server.start("update", given)
    with server.worker("promote") as worker:
        dead = server.wait_for("update", lambda run: mine(run) and heartbeats(server, run))
        for child in psutil.Process(worker.pid).children(recursive=True):
            child.kill()
        psutil.Process(worker.pid).kill()
    server.start("update", given)
    with server.worker("promote") as worker:
        server.wait_for(
            "update", lambda run: run["id"] == dead["id"] and run["state"]["type"] == "CRASHED"
        )
        done = server.wait_for(
            "update", lambda run: mine(run) and run["state"]["type"] == "COMPLETED"
        )
    assert done["id"] != dead["id"], worker.log.read_text()
    assert next(v.verdict for v in Registry.open(world.home).versions("killed")) == "blessed"


def heartbeats(server: Server, run: dict[str, Any]) -> bool:
    name = "prefect.flow-run.heartbeat"
    asked = {"event": {"name": [name]}, "resource": {"id": [f"prefect.flow-run.{run['id']}"]}}
    return bool(server.ask("events/filter", {"filter": asked})["events"])
