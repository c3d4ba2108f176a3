"""A server goes away while an update runs, and comes back later: MLflow's, killed; Prefect's."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.crash.scenarios import Scenario
from infra.crash.state import serves_undecided
from infra.crash.trial import Trial, Undisturbed, begin, compared, run_again, undisturbed
from infra.crash.warm import Engine, Warm, free_port, until_healthy

STAGES = ("train", "record and publish")
PATIENCE = 900.0  # seconds: Prefect's client asks again for a minute, once for each thing it has to say


def away(warm: Warm, scenario: Scenario, folder: Path, home: Path) -> Iterator[Trial]:
    """The scenario with a server in between, which is killed in each of STAGES."""
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    asked = scenario._replace(command=[*scenario.command, "--tracking-uri", uri], leaves="")
    begin(scenario, folder, home)
    with registry(home, port, folder):
        whole = undisturbed(warm, asked, folder, home, uri, begun=True)
    for stage in STAGES:
        begin(scenario, folder, home)
        at = next(p for p in whole.ran.points if p.stage == stage)
        with registry(home, port, folder) as server:
            ran = warm.run(asked.command, home, at=at, act=lambda: gone(server))
        wrong = []
        if ran.code != 3 or "Traceback" in ran.said or "MLflow" not in ran.said:
            wrong.append(f"it ended with {ran.code}: {ran.said.strip()[-600:]}")
        if undecided := serves_undecided(home):
            wrong.append(f"version {undecided} serves, and no statement says that it may")
        with registry(home, port, folder):
            wrong += run_again(warm, asked.command, whole, home, uri)
        yield Trial(scenario.name, f"MLflow gone, {at}", at.stage, 0, wrong)


def engine_away(
    warm: Warm, scenario: Scenario, whole: Undisturbed, folder: Path, home: Path
) -> Iterator[Trial]:
    """Prefect's server is restarted between two steps, and then it ends and stays away."""
    engine = Engine(folder)
    for stage in STAGES:
        begin(scenario, folder, home)
        at = next(p for p in whole.ran.points if p.stage == stage)
        ran = warm.run(scenario.command, home, at=at, act=engine.restart)
        wrong = []
        if ran.code != whole.ran.code:
            wrong.append(f"it ended with {ran.code}: {ran.said.strip()[-600:]}")
        wrong += compared(warm, whole, home)
        yield Trial(scenario.name, f"Prefect restarted, {at}", at.stage, 0, wrong)

        begin(scenario, folder, home)
        ran = warm.run(scenario.command, home, at=at, act=engine.stop, longest=PATIENCE)
        wrong = []
        if ran.code not in (3, 4) or "Traceback" in ran.said or "Prefect" not in ran.said:
            wrong.append(f"it ended with {ran.code}: {ran.said.strip()[-600:]}")
        if undecided := serves_undecided(home):
            wrong.append(f"version {undecided} serves, and no statement says that it may")
        engine.restart()
        wrong += run_again(warm, scenario.command, whole, home)
        yield Trial(scenario.name, f"Prefect gone, {at}", at.stage, 0, wrong)


@contextmanager
def registry(home: Path, port: int, folder: Path) -> Iterator[int]:
    """MLflow's server on this home, at the same address each time; yields its process group."""
    home.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{home / 'mlflow.db'}"]
    command += ["--artifacts-destination", (home / "mlartifacts").as_uri()]
    with (folder / "mlflow.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        until_healthy(server, f"http://127.0.0.1:{port}/health", folder / "mlflow.log")
        yield server.pid
    finally:
        gone(server.pid)
        server.wait()


def gone(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return  # it was killed by the child already
