"""Real services for tests, on free ports of the loopback and in folders of their own.

PostgreSQL is Debian's (`make test` installs it); the S3 store is moto's; both servers have
accounts with passwords made for the occasion.
"""

import base64
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

HOST = "127.0.0.1"
MLFLOW = "postgresql+psycopg"  # SQLAlchemy 2.0 would look for psycopg2
READY_WITHIN = 180.0  # seconds; migrations on a busy machine
BUCKET = "tidegate"
INFRA = Path(__file__).parents[1] / "infra"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def postgres_binaries() -> Path:
    """The newest of Debian's. Without one: a failure in CI, and elsewhere a skip that says so."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if found:
        return found[-1].parent
    say = "no /usr/lib/postgresql/*/bin/postgres; install Debian's `postgresql`"
    if os.environ.get("CI", "").lower() in ("true", "1"):
        pytest.fail(say)
    pytest.skip(say)


@contextmanager
def process(
    command: list[str],
    log: Path,
    end: signal.Signals = signal.SIGTERM,
    **more: Any,
) -> Iterator[subprocess.Popen[bytes]]:
    """A child with a group of its own, ended with all of its children."""
    with log.open("wb") as out:
        child = subprocess.Popen(
            command, stdout=out, stderr=out, start_new_session=True, **more
        )  # fmt: skip
        try:
            yield child
        finally:
            if child.poll() is None:
                os.killpg(child.pid, end)
            try:
                child.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()


def until_healthy(url: str, child: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + READY_WITHIN
    while time.monotonic() < end:
        assert child.poll() is None, log.read_text()[-4000:]
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            pass
        time.sleep(0.2)
    raise AssertionError(f"{url}: {log.read_text()[-4000:]}")


@dataclass(frozen=True)
class Postgres:
    port: int
    password: str

    def url(self, database: str, scheme: str = "postgresql") -> str:
        return f"{scheme}://tidegate:{self.password}@{HOST}:{self.port}/{database}"


@contextmanager
def postgres(*databases: str) -> Iterator[Postgres]:
    """A cluster of its own with password authentication, and these databases in it."""
    with cluster() as (server, folder), running(server, folder):
        make_databases(server, databases)
        yield server


@contextmanager
def cluster() -> Iterator[tuple[Postgres, Path]]:
    """The files of a cluster that nobody serves yet; as root they are the user `postgres`'s."""
    # Not below pytest's folder: that is root's alone.
    folder = Path(tempfile.mkdtemp(prefix="tidegate-postgres-"))
    made = Postgres(free_port(), secrets.token_urlsafe(18))
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    secret = folder / "password"
    secret.write_text(made.password)
    secret.chmod(0o644)
    make = [str(postgres_binaries() / "initdb"), "-D", str(folder / "data"), "-U", "tidegate"]
    make += ["--pwfile", str(secret), "-A", "scram-sha-256", "--no-sync"]
    try:
        done = subprocess.run(
            make, check=False, cwd=folder, capture_output=True, text=True, **_postgres_user()
        )
        assert done.returncode == 0, done.stderr
        yield made, folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def running(server: Postgres, folder: Path) -> Iterator[None]:
    """PostgreSQL on these files, until the end of the block; it can be run again."""
    run = [str(postgres_binaries() / "postgres"), "-D", str(folder / "data"), "-h", HOST]
    run += ["-p", str(server.port), "-k", str(folder)]
    run += ["-F"]  # no fsync; what is under test is not the disk
    log = folder.parent / f"{folder.name}.log"
    with process(run, log, signal.SIGINT, cwd=folder, **_postgres_user()) as child:
        _until_it_answers(server, child, log)
        yield
    log.unlink()


def _postgres_user() -> dict[str, Any]:
    place = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    if os.geteuid() != 0:
        return {"env": place}
    return {"env": place, "user": "postgres", "group": "postgres", "extra_groups": []}


def make_databases(server: Postgres, databases: tuple[str, ...]) -> None:
    import psycopg

    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        for name in databases:
            connection.execute(f'CREATE DATABASE "{name}"')


def _until_it_answers(server: Postgres, child: subprocess.Popen[bytes], log: Path) -> None:
    import psycopg

    end = time.monotonic() + READY_WITHIN
    while True:
        assert child.poll() is None, log.read_text()[-4000:]
        try:
            psycopg.connect(server.url("postgres")).close()
            return
        except psycopg.OperationalError:
            assert time.monotonic() < end, log.read_text()[-4000:]
            time.sleep(0.1)


@dataclass(frozen=True)
class Store:
    """An S3 API, and the keys that only MLflow's server gets."""

    url: str
    keys: Mapping[str, str]

    def names(self) -> list[str]:
        """Of all objects in the bucket."""
        listed = self.client().list_objects_v2(Bucket=BUCKET)
        return [found["Key"] for found in listed.get("Contents", [])]

    def client(self) -> Any:
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=self.keys["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.keys["AWS_SECRET_ACCESS_KEY"],
        )


@contextmanager
def object_store(folder: Path) -> Iterator[Store]:
    port = free_port()
    keys = {
        "AWS_ACCESS_KEY_ID": secrets.token_hex(8),
        "AWS_SECRET_ACCESS_KEY": secrets.token_hex(16),
    }
    store, log = Store(f"http://{HOST}:{port}", keys), folder / "s3.log"
    command = [sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(port)]
    with process(command, log) as child:
        until_healthy(store.url, child, log)
        yield store


@dataclass(frozen=True)
class Tracking:
    """MLflow's server and the passwords of its accounts."""

    url: str
    passwords: Mapping[str, str]

    def account(self, name: str) -> dict[str, str]:
        """The environment of a process that acts as this account."""
        return {
            "MLFLOW_TRACKING_USERNAME": name,
            "MLFLOW_TRACKING_PASSWORD": self.passwords[name],
        }

    def make_reader(self) -> None:
        """The account `reader`, made by `admin`: it has what everybody has."""
        asked = {"username": "reader", "password": self.passwords["reader"]}
        request = urllib.request.Request(
            f"{self.url}/api/2.0/mlflow/users/create",
            json.dumps(asked).encode(),
            {
                "Content-Type": "application/json",
                "Authorization": "Basic "
                + base64.b64encode(f"admin:{self.passwords['admin']}".encode()).decode(),
            },
        )
        urllib.request.urlopen(request, timeout=30).close()


@contextmanager
def tracking(folder: Path, database: Postgres, store: Store) -> Iterator[Tracking]:
    """MLflow on PostgreSQL with accounts; files through its proxy into the S3 store.

    `admin` may write; `reader` has what everybody has: to read.
    """
    port = free_port()
    made = Tracking(
        f"http://{HOST}:{port}",
        {name: secrets.token_urlsafe(18) for name in ("admin", "reader")},
    )
    log = folder / "mlflow.log"
    environment = {
        **os.environ,
        **store.keys,
        "MLFLOW_S3_ENDPOINT_URL": store.url,
        "MLFLOW_ARTIFACTS_DESTINATION": f"s3://{BUCKET}/mlflow",
        "MLFLOW_BACKEND_STORE_URI": database.url("mlflow", MLFLOW),
        "TIDEGATE_MLFLOW_ACCOUNTS": database.url("mlflow_accounts", MLFLOW),
        "MLFLOW_AUTH_ADMIN_PASSWORD": made.passwords["admin"],
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(32),
        "MLFLOW_SERVER_ALLOWED_HOSTS": f"{HOST}:{port}",
    }
    make = [sys.executable, str(INFRA / "bucket.py")]
    for _ in range(2):  # the second time it is there already
        subprocess.run(make, env=environment, check=True, capture_output=True)
    command = [sys.executable, str(INFRA / "mlflow_server.py"), HOST, str(port)]
    with process(command, log, env=environment) as child:
        until_healthy(f"{made.url}/health", child, log)
        yield made


@contextmanager
def engine(folder: Path, database: Postgres) -> Iterator[dict[str, str]]:
    """Prefect's server on PostgreSQL with a password; the environment of its clients."""
    port, login = free_port(), f"admin:{secrets.token_urlsafe(18)}"
    environment = {
        **os.environ,
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_API_URL": f"http://{HOST}:{port}/api",
        "PREFECT_API_AUTH_STRING": login,
    }
    server = {
        **environment,
        "PREFECT_SERVER_API_AUTH_STRING": login,
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": database.url("prefect", "postgresql+asyncpg"),
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", HOST]
    log = folder / "prefect.log"
    with process([*command, "--port", str(port)], log, env=server) as child:
        until_healthy(f"{environment['PREFECT_API_URL']}/health", child, log)
        yield environment
