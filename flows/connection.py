"""The connection to MLflow: opened after a look whether anybody is there, and its failures.

Every failure of MLflow leaves here as a RegistryError that says what was asked, of whom,
and what to do, within seconds.
"""

import errno
import os
import shutil
import socket
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tidegate.flows.environment import DEFAULTS
from tidegate.flows.intake.home_key import sync_folder
from tidegate.gates.drafts import draft_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

WAIT = 5.0  # seconds that MLflow's server or database may take to answer at all
DATABASE_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}


class RegistryError(Exception):
    """MLflow cannot do what was asked, or holds something else than it should."""


# Of write(2), and SQLite's words for the same.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FULL_SAYS = ("disk I/O error", "database or disk is full")


@contextmanager
def asking(what: str) -> Iterator[None]:
    """Turn every failure of MLflow, its database or its server into a RegistryError."""
    from alembic.util import CommandError
    from mlflow.exceptions import MlflowException
    from requests import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, CommandError, RequestException) as no:
        # The last line of SQLAlchemy's messages is a link; the first says what went wrong.
        first = (str(no).splitlines() or [type(no).__name__])[0][:500]
        if said := _turned_away(no):
            raise RegistryError(f"MLflow could not {what}: {said}") from no
        if said := _no_room(no):
            raise RegistryError(f"MLflow could not {what}: {said}") from no
        if first.startswith("Failed to download artifacts"):  # MLflow drops the reason
            first += " Are they in its artifact store, and is there space left on the disk?"
        raise RegistryError(f"MLflow could not {what}: {first}") from no
    except OSError as no:
        raise RegistryError(f"could not {what}: {no}; look at MLflow's artifact store") from no


def _no_room(no: BaseException | None) -> str | None:
    """What would do, where a full disk is behind it; SQLite and MLflow hide that deep inside."""
    while no is not None:
        full = isinstance(no, OSError) and no.errno in FULL
        if full or any(said in str(no) for said in FULL_SAYS):
            return "a file could not be written; is there space left on the disk?"
        no = no.__cause__ or no.__context__
    return None


def _turned_away(no: Exception) -> str | None:
    """What would do, where MLflow's server does not know us, or knows us and will not."""
    answer = getattr(no, "response", None)  # of requests; MLflow's own errors have a word
    found = getattr(answer, "status_code", None) or getattr(no, "error_code", None)
    who = os.environ.get("MLFLOW_TRACKING_USERNAME")
    if found in (401, "UNAUTHENTICATED"):
        asks = f"{who!r} with this password" if who else "who asks"
        return (
            f"the server does not know {asks}; set MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD"
        )
    if found in (403, "PERMISSION_DENIED"):
        return (
            f"the account {who!r} may not; run this where the account of the pool `promote` is"
        )
    return None


def connect(tracking_uri: str) -> "MlflowClient":
    """A client for tracking and registry, after a look whether anybody is there.

    Raises RegistryError within seconds where MLflow itself would retry for minutes.
    """
    for name, value in DEFAULTS.items():
        if name.startswith("MLFLOW_"):  # short timeouts, no telemetry, also without prepare()
            os.environ.setdefault(name, value)
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    # Standard output belongs to the caller's document; MLflow would print links there.
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    parts = urlsplit(tracking_uri)
    scheme = parts.scheme.split("+")[0]
    if scheme == "sqlite":
        _look_at_sqlite(Path(parts.path[1:]), tracking_uri)
    elif scheme in ("http", "https"):
        _look_at_server(tracking_uri)
    elif scheme in DATABASE_PORTS and parts.hostname:
        _look_at_port(tracking_uri, parts.hostname, parts.port or DATABASE_PORTS[scheme])
    # Imported here: it takes seconds, and the variables above are read on import.
    from mlflow import MlflowClient

    with asking(f"open {shown(tracking_uri)}"):
        client = MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)
        client.search_registered_models(max_results=1)
    return client


def shown(uri: str) -> str:
    """The URI without user name and password, for messages."""
    parts = urlsplit(uri)
    if "@" not in parts.netloc:
        return uri
    return parts._replace(netloc=parts.netloc.rsplit("@", 1)[1]).geturl()


def _look_at_sqlite(path: Path, uri: str) -> None:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with asking(f"open {shown(uri)}"):
            _make_sqlite(path)
        return
    try:
        database = sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=WAIT)
        try:
            database.execute("SELECT count(*) FROM sqlite_master").fetchone()
            database.execute("BEGIN IMMEDIATE")
            database.rollback()
        finally:
            database.close()
    except sqlite3.OperationalError as no:
        raise RegistryError(
            f"{path}: MLflow's database cannot be written ({no}); wait for the other process "
            "that uses it, or end it, and see that the folder is writable"
        ) from no
    except sqlite3.DatabaseError as no:
        raise RegistryError(
            f"{path}: this is not an intact SQLite database ({no}); restore MLflow's database "
            "from a backup, or move it away to start an empty registry"
        ) from no


def _make_sqlite(path: Path) -> None:
    """MLflow's empty database, whole or not there: one that was half made is never opened again.

    MLflow makes its tables in dozens of steps, and does not go on where a killed process stopped.
    """
    from mlflow.db import upgrade  # `mlflow db upgrade`: makes all tables where there are none

    draft = draft_of(path)  # a folder, for SQLite's journal too
    draft.mkdir()
    upgrade.callback(f"sqlite:///{draft / path.name}")
    with suppress(FileExistsError):  # another process was first, and may have written already
        os.link(draft / path.name, path)
    sync_folder(path.parent)
    shutil.rmtree(draft)


def _look_at_server(uri: str) -> None:
    try:
        urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=WAIT).close()
    except urllib.error.HTTPError:
        return  # it answers; whether it lets us in, the first question tells
    except (OSError, ValueError) as no:
        raise _nobody(uri, no) from no


def _look_at_port(uri: str, host: str, port: int) -> None:
    try:
        socket.create_connection((host, port), WAIT).close()
    except OSError as no:
        raise _nobody(uri, no) from no


def _nobody(uri: str, no: Exception) -> RegistryError:
    return RegistryError(
        f"MLflow does not answer at {shown(uri)} ({no}); start it, or correct the tracking URI"
    )
