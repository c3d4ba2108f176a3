"""Prefect's server: one that is configured, or one of our own for as long as we run."""

import os
import subprocess
import sys
from typing import Any

from tidegate.flows.progress import stage
from tidegate.flows.usage import UsageError


def start_engine() -> None:
    """Reach the server in $PREFECT_API_URL, or start one. Raises UsageError if neither works.

    Done before a flow begins, so that an engine that does not start is one clear error.
    """
    stage("start the flow engine")
    import httpx
    from prefect.client.orchestration import get_client

    configured = os.environ.get("PREFECT_API_URL")
    if not configured:
        _bind_own_server()
    try:
        with get_client(sync_client=True) as client:
            problem = client.api_healthcheck()
    except (RuntimeError, httpx.HTTPError, OSError) as error:
        problem = error
    if problem is not None:
        what = f"Prefect's server at {configured}" if configured else "Prefect's own server"
        raise UsageError(
            f"{what} does not answer ({type(problem).__name__}); "
            + ("start it, or unset PREFECT_API_URL" if configured else "try `tidegate doctor`")
        )


def _bind_own_server() -> None:
    """Have Prefect's temporary server end with this process, even if it is killed.

    Prefect keeps one such server a process, and takes the one that is there already. The
    thread that starts it has to be the main one: it is its end that the kernel tells.
    """
    import prefect
    from prefect.server.api.server import SubprocessASGIServer
    from prefect.settings import get_current_settings

    class BoundServer(SubprocessASGIServer):
        def _run_uvicorn_command(self) -> subprocess.Popen[Any]:
            # Prefect's own command and environment, behind the one that binds it.
            server = [sys.executable, "-m", "uvicorn"]
            server += ["--app-dir", str(prefect.__module_path__.parent)]
            server += ["--factory", "prefect.server.api.server:create_app"]
            server += ["--host", "127.0.0.1", "--port", str(self.port)]
            server += ["--log-level", "error", "--lifespan", "on"]
            given = get_current_settings().to_environment_variables(exclude_unset=True)
            return subprocess.Popen(
                [sys.executable, "-m", "tidegate.flows.bound", str(os.getpid()), *server],
                env={
                    **os.environ,
                    "PREFECT_UI_ENABLED": "0",
                    "PREFECT__SERVER_EPHEMERAL": "1",
                    "PREFECT__SERVER_FINAL": "1",
                    **given,
                },
            )

    BoundServer()
