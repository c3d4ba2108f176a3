"""The deployments of prefect.yaml on a Prefect server, and the workers of their pools."""

import base64
import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tests.services import free_port, process, until_healthy

ROOT = Path(__file__).parents[1]


class Worker(NamedTuple):
    log: Path
    pid: int


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
    def worker(self, pool: str) -> Iterator[Worker]:
        """One that answers for its health, as the containers' do."""
        port, log = free_port(), self.folder / f"{pool}.log"
        environment = {**self.environment, "PREFECT_WORKER_WEBSERVER_PORT": str(port)}
        command = ["prefect", "worker", "start", "--pool", pool, "--type", "process"]
        with process([*command, "--with-healthcheck"], log, env=environment, cwd=ROOT) as child:
            until_healthy(f"http://127.0.0.1:{port}/health", child, log)
            yield Worker(log, child.pid)

    def ask(self, path: str, body: dict[str, Any], method: str = "POST") -> Any:
        login = base64.b64encode(self.environment["PREFECT_API_AUTH_STRING"].encode()).decode()
        request = urllib.request.Request(
            f"{self.environment['PREFECT_API_URL']}/{path}",
            json.dumps(body).encode(),
            {"Content-Type": "application/json", "Authorization": f"Basic {login}"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"null")

    def runs(self, name: str) -> list[dict[str, Any]]:
        """The runs of a deployment that its clock did not start."""
        asked = {"deployments": {"name": {"any_": [name]}}}
        found: list[dict[str, Any]] = self.ask("flow_runs/filter", asked)
        return [run for run in found if not run["auto_scheduled"]]

    def wait_for(self, name: str, wanted: Any, within: float = 150) -> dict[str, Any]:
        end = time.monotonic() + within
        while time.monotonic() < end:
            for run in self.runs(name):
                if wanted(run):
                    return run
            time.sleep(0.5)
        raise AssertionError(f"{name}: {self.runs(name)}")
