"""The process's surroundings, set in one place before anything heavy is imported.

No telemetry, no model hub, one decision about threads, no pickle in Prefect's results.
Values that a user has already set win, except where the wall between deployment and
training depends on them.
"""

import logging
import os
import warnings
from pathlib import Path

from tidegate.flows.home import Home

# A drop must never be able to make a process reach out: these are not for users to change.
FIXED = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_DATASETS_TRUST_REMOTE_CODE": "0",
    "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
}
OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")
DEFAULTS = {
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "GX_ANALYTICS_ENABLED": "false",
    "DAFT_ANALYTICS_ENABLED": "0",
    "DAFT_PROGRESS_BAR": "0",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # The second UI asks an analytics service for its settings whatever analytics_enabled says.
    "PREFECT_SERVER_UI_V2_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_SERVER_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_INTERNAL_LEVEL": "CRITICAL",  # it prints whole events that it cannot send
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_CLI_PROMPT": "false",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
    "LMEVAL_LOG_LEVEL": "ERROR",
    "TQDM_DISABLE": "1",
    "GIT_PYTHON_REFRESH": "quiet",
    "MPLBACKEND": "agg",
}


def prepare(home: Home, *, online: bool = False) -> None:
    """Set the environment for this process and the ones that it starts.

    online: only for the one command whose purpose is to fetch from a hub.
    """
    os.environ.update(FIXED)
    if online:
        os.environ.update(dict.fromkeys(OFFLINE, "0"))
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    # One decision about threads: two torch processes that each take every core stall each other.
    os.environ.setdefault("OMP_NUM_THREADS", str(_cores()))
    os.environ.setdefault("PREFECT_HOME", str(home.root / "prefect"))
    # Prefect makes the folder itself, but not the ones above it.
    Path(os.environ["PREFECT_HOME"]).mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("MPLCONFIGDIR", str(home.cache / "matplotlib"))
    os.environ.setdefault("HF_HOME", str(home.cache / "huggingface"))

    # It sets its own level to INFO when it is imported; a filter stays.
    chatty = logging.getLogger("great_expectations.data_context.types.base")
    chatty.addFilter(lambda record: record.levelno >= logging.WARNING)
    # It prints the traceback of an error that it raises as well, and that we report in one line.
    database = logging.getLogger("mlflow.store.db.utils")
    database.addFilter(lambda record: record.exc_info is None)
    for kind in (FutureWarning, DeprecationWarning):  # of packages that the lock pins
        warnings.simplefilter("ignore", kind)


def _cores() -> int:
    """Cores that this process may run on, not all that the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
