"""Prefect's server: one that is configured, or one of our own for as long as we run."""

import os

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
