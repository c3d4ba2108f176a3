"""MLflow's UI, a Prefect server and a worker on one machine, bound to the loopback only."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence

from rich.console import Console

from tidegate.flows.home import Home
from tidegate.flows.usage import UsageError

HOST = "127.0.0.1"
READY_WITHIN = 120.0  # seconds; a first start makes databases
Child = subprocess.Popen[bytes]
Running = dict[tuple[str, ...], Child]


def run_ui(
    home: Home, console: Console, model: str | None, version: str | None, port: int
) -> None:
    """Serve MLflow's UI until interrupted; prints the address of the version asked for."""
    url = version_url(port, model, version)
    _run_all([_mlflow(home, port)], console, {"MLflow": (f"http://{HOST}:{port}/health", url)})


def run_services(
    home: Home, console: Console, model: str, drops: str, port: int, prefect_port: int
) -> None:
    """MLflow's UI, Prefect's server, and a process that serves the `update` deployment."""
    api = f"http://{HOST}:{prefect_port}/api"
    os.environ["PREFECT_API_URL"] = api
    prefect = [sys.executable, "-m", "prefect", "server", "start", "--host", HOST]
    prefect += ["--port", str(prefect_port)]
    worker = [sys.executable, "-m", "tidegate.flows.worker"]
    worker += [model, str(home.root), drops]
    _run_all(
        [_mlflow(home, port), prefect],
        console,
        {
            "MLflow": (f"http://{HOST}:{port}/health", version_url(port, model, None)),
            "Prefect": (f"{api}/health", f"http://{HOST}:{prefect_port}"),
        },
        afterwards=worker,  # it ends at once if the server does not answer yet
    )


def version_url(port: int, model: str | None, version: str | None) -> str:
    url = f"http://{HOST}:{port}"
    if model is None:
        return f"{url}/#/models"
    return f"{url}/#/models/{model}" + (f"/versions/{version}" if version else "")


def _mlflow(home: Home, port: int) -> list[str]:
    if not home.mlflow_database.exists():
        raise UsageError(
            f"{home.mlflow_database}: there is nothing to show yet; run `tidegate update` or "
            "`tidegate demo` first, or name another --home"
        )
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{home.mlflow_database}", "--workers", "1"]
    return [*command, "--artifacts-destination", home.mlflow_artifacts.as_uri()]


def _run_all(
    commands: Sequence[Sequence[str]],
    console: Console,
    places: dict[str, tuple[str, str]],
    afterwards: Sequence[str] | None = None,
) -> None:
    """Start commands, wait until each place is healthy, and watch until one ends."""
    for name, (health, _) in places.items():
        port = int(health.split(":")[2].split("/")[0])
        if _answers(port):
            raise UsageError(f"port {port} is taken; choose another one for {name}")
    running = {tuple(command): _start(command) for command in commands}
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        for name, (health, url) in places.items():
            _wait_for(health, name, running)
            console.print(f"{name:<8} {url}", highlight=False)
        if afterwards is not None:
            running[tuple(afterwards)] = _start(afterwards)
        console.print("Ctrl-C ends it.")
        while True:
            _raise_for_the_dead(running)
            time.sleep(0.5)
    except KeyboardInterrupt:
        console.print("ended")
    finally:
        for child in running.values():
            _end(child)


def _start(command: Sequence[str]) -> Child:
    # A group of its own: Ctrl-C reaches us alone, and we end every child with its children.
    return subprocess.Popen(
        command,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _interrupted(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _wait_for(url: str, name: str, running: Running) -> None:
    end = time.monotonic() + READY_WITHIN
    while time.monotonic() < end:
        _raise_for_the_dead(running)
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.3)
    raise UsageError(f"{name} did not answer at {url} within {READY_WITHIN:.0f} s")


def _raise_for_the_dead(running: Running) -> None:
    for command, child in running.items():
        if child.poll() is not None:
            shown = " ".join(command)
            raise UsageError(f"ended with code {child.returncode}; run it to see why: {shown}")


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


def _end(child: Child) -> None:
    if child.poll() is not None:
        return
    os.killpg(child.pid, signal.SIGTERM)
    try:
        child.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
