"""The connection to MLflow, and the runs in which an update leaves its evidence.

One parent run per update, one nested run per stage; both are found again by their tags, so
an update that was killed and is started again continues its own runs. MLflow is asked
through a client of its own, never through the fluent interface: there is no active run
that a second update in the same process could write into.

Every failure of MLflow leaves here as a RegistryError that says what was asked, of whom,
and what to do, within seconds.
"""

import errno
import json
import os
import socket
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tidegate.flows.environment import DEFAULTS

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Dataset as DatasetEntity

UPDATE_TAG = "gov.update_id"
STAGE_TAG = "gov.stage"
PARENT_TAG = "mlflow.parentRunId"
WAIT = 5.0  # seconds that MLflow's server or database may take to answer at all
DATABASE_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
COLUMN_TYPES = {"string": "string", "bool": "boolean", "int64": "long", "double": "double"}
DATASET_DIGEST_LIMIT = 36
PARAM_LIMIT, RUN_TAG_LIMIT, PER_BATCH = 6_000, 8_000, 100


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
        _look_at_sqlite(Path(parts.path[1:]))
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


def _look_at_sqlite(path: Path) -> None:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
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


@dataclass(frozen=True)
class Dataset:
    """A Parquet file that an update read, named by digest; MLflow is told, never given it."""

    name: str
    path: Path
    digest: str
    context: str  # training, replay or validation
    rows: int


class Runs:
    """The runs of a model line: one experiment, named like the model."""

    def __init__(self, client: "MlflowClient", artifacts: Path | None) -> None:
        """`artifacts`: where files go; None where the server decides that."""
        self.client = client
        self._artifacts = artifacts

    def start_update(
        self,
        name: str,
        update_id: str,
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> str:
        """The id of the update's parent run, made now or found from an earlier attempt."""
        with asking(f"start the run of update {update_id}"):
            return self._run(
                name,
                f"update {update_id[:24]}",
                {**(tags or {}), UPDATE_TAG: update_id},
                params,
            )

    @contextmanager
    def stage(self, name: str, parent: str, stage: str) -> Iterator[str]:
        """A nested run for one stage of an update: FINISHED, or FAILED if it raises."""
        with asking(f"start the run of stage {stage}"):
            run_id = self._run(name, stage, {PARENT_TAG: parent, STAGE_TAG: stage})
        try:
            yield run_id
        except BaseException as first:
            try:
                self.finish(run_id, "FAILED")
            except RegistryError as second:  # as on a full disk: the first error says why
                first.add_note(str(second))
            raise
        self.finish(run_id)

    def finish(self, run_id: str, status: str = "FINISHED") -> None:
        with asking(f"end run {run_id}"):
            self.client.set_terminated(run_id, status)

    def experiment_of(self, run_id: str) -> str:
        """The id of a run's experiment, which MLflow's pages are addressed by."""
        with asking(f"read run {run_id}"):
            return str(self.client.get_run(run_id).info.experiment_id)

    def tag(self, run_id: str, tags: Mapping[str, str]) -> None:
        with asking(f"tag run {run_id}"):
            for key, value in tags.items():
                self.client.set_tag(run_id, key, value[:RUN_TAG_LIMIT])

    def log_metrics(self, run_id: str, series: Mapping[str, Sequence[float]]) -> None:
        """Each name with its values at steps 0, 1, …; a single number is a series of one.

        Logging the same series again replaces nothing and adds nothing: MLflow keeps one
        value per name, step and time, and the time is the run's own start.
        """
        from mlflow.entities import Metric

        with asking(f"log the metrics of run {run_id}"):
            began = self.client.get_run(run_id).info.start_time
            points = [
                Metric(name, float(value), began, step)
                for name, values in series.items()
                for step, value in enumerate(values)
            ]
            for i in range(0, len(points), 1000):
                self.client.log_batch(run_id, metrics=points[i : i + 1000])

    def log_file(self, run_id: str, file: Path, folder: str | None = None) -> None:
        """Store a file, or a folder with all that is in it, below `folder` of the run."""
        with asking(f"store {file.name} in run {run_id}"):
            if file.is_dir():
                self.client.log_artifacts(run_id, str(file), folder)
            else:
                self.client.log_artifact(run_id, str(file), folder)

    def log_text(self, run_id: str, text: str, path: str) -> None:
        with asking(f"store {path} in run {run_id}"):
            self.client.log_text(run_id, text, path)

    def log_datasets(self, run_id: str, datasets: Sequence[Dataset]) -> None:
        """Name the files an update read: path, columns and digest, and none of their text.

        MLflow keeps at most 36 characters of a digest; the whole one is in a tag.
        """
        from mlflow.entities import DatasetInput, InputTag

        with asking(f"name the data of run {run_id}"):
            self.client.log_inputs(
                run_id,
                [
                    DatasetInput(
                        dataset=_entity(d),
                        tags=[
                            InputTag("mlflow.data.context", d.context),
                            InputTag("gov.digest", d.digest),
                            InputTag("gov.rows", str(d.rows)),
                        ],
                    )
                    for d in datasets
                ],
            )

    def _run(
        self,
        name: str,
        title: str,
        tags: Mapping[str, str],
        params: Mapping[str, str] | None = None,
    ) -> str:
        """Find the run with these identifying tags, or make it."""
        from mlflow.entities import Param

        experiment = self._experiment(name)
        keys = [key for key in (UPDATE_TAG, PARENT_TAG, STAGE_TAG) if key in tags]
        wanted = " and ".join(f"tags.`{key}` = '{quoted(tags[key])}'" for key in keys)
        found = self.client.search_runs([experiment], wanted, max_results=1)
        if found:
            run_id: str = found[0].info.run_id
            self.client.update_run(run_id, status="RUNNING")
        else:
            cut = {key: value[:RUN_TAG_LIMIT] for key, value in tags.items()}
            run_id = self.client.create_run(experiment, tags=cut, run_name=title).info.run_id
        given = [Param(key, value[:PARAM_LIMIT]) for key, value in (params or {}).items()]
        for i in range(0, len(given), PER_BATCH):
            self.client.log_batch(run_id, params=given[i : i + PER_BATCH])
        return run_id

    def _experiment(self, name: str) -> str:
        found = self.client.get_experiment_by_name(name)
        if found is not None:
            if found.lifecycle_stage != "active":
                raise RegistryError(
                    f"MLflow's experiment {name!r} was deleted; restore it "
                    f"(mlflow experiments restore -x {found.experiment_id})"
                )
            return str(found.experiment_id)
        place = None
        if self._artifacts is not None:
            self._artifacts.mkdir(parents=True, exist_ok=True)
            place = self._artifacts.as_uri()
        return str(self.client.create_experiment(name, artifact_location=place))


def quoted(value: str) -> str:
    """A value for the inside of a quoted string in MLflow's search; refuses what cannot be."""
    if "'" in value or "\\" in value:
        raise RegistryError(
            f"{value!r} cannot be searched for in MLflow; use letters, digits, -"
        )
    return value


def _entity(dataset: Dataset) -> "DatasetEntity":
    """What MLflow is told of a file: made by hand, because mlflow.data's own loaders read
    the rows and store a profile of them."""
    from mlflow.entities import Dataset as DatasetEntity
    from pyarrow import parquet

    columns = [
        {"name": field.name, "type": COLUMN_TYPES.get(str(field.type), "any"), "required": True}
        for field in parquet.read_schema(dataset.path)
    ]
    return DatasetEntity(
        name=dataset.name,
        digest=dataset.digest.removeprefix("sha256:")[:DATASET_DIGEST_LIMIT],
        source_type="local",
        source=json.dumps({"uri": str(dataset.path)}),
        schema=json.dumps({"mlflow_colspec": columns}),
        profile=json.dumps({"num_rows": dataset.rows}),
    )
