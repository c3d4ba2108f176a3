"""`tidegate ui` and `tidegate serve`, started for real on free ports."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tidegate.flows.home import Home
from tidegate.flows.registry import Registry

pytestmark = pytest.mark.slow
TIDEGATE = str(Path(sys.executable).parent / "tidegate")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask(url: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=5) as answer:
        return json.load(answer)


def wait_for(url: str, child: subprocess.Popen[str], body: dict[str, Any] | None = None) -> Any:
    end = time.monotonic() + 150
    while time.monotonic() < end:
        assert child.poll() is None, child.communicate()[0]
        try:
            found = ask(url, body)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            found = None
        if found:
            return found
        time.sleep(0.5)
    raise AssertionError(f"{url} gave nothing in time")


@contextmanager
def running(folder: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    home = Home(folder / "home")
    home.root.mkdir()
    Registry.open(home).ensure_model("assistant")
    environment = {k: v for k, v in os.environ.items() if k != "PREFECT_API_URL"}
    environment["TIDEGATE_HOME"] = str(home.root)
    environment["PREFECT_HOME"] = str(folder / "prefect")
    child = subprocess.Popen(
        [TIDEGATE, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        cwd=folder,
    )
    try:
        yield child
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait(60)


def test_serve_runs_the_registry_the_engine_and_a_deployment(tmp_path: Path) -> None:
    port, engine = free_port(), free_port()
    words = ("serve", "--port", str(port), "--prefect-port", str(engine))
    with running(tmp_path, *words) as child:
        deployments = wait_for(
            f"http://127.0.0.1:{engine}/api/deployments/filter", child, {"limit": 5}
        )
        assert [d["name"] for d in deployments] == ["assistant"]
        assert deployments[0]["parameters"]["model"] == "assistant"
        properties = deployments[0]["parameter_openapi_schema"]["properties"]
        assert {"drops", "policy", "recipe", "model"} <= set(properties)
        found = wait_for(
            f"http://127.0.0.1:{port}/api/2.0/mlflow/registered-models/get?name=assistant",
            child,
        )
        assert found["registered_model"]["name"] == "assistant"
    for taken in (port, engine):
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", taken)) != 0, f"{taken} is still served"


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with running(tmp_path, "ui", "--port", str(port)) as child:
            output, _ = child.communicate(timeout=60)
    assert child.returncode == 3
    assert f"port {port} is taken" in output
