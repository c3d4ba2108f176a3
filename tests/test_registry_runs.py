"""Runs, data sets and failures of MLflow: a real SQLite file, and ports where nobody listens."""

import errno
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from pyarrow import parquet

from tidegate.flows.connection import asking, shown
from tidegate.flows.home import Home
from tidegate.flows.registry import Registry, RegistryError
from tidegate.flows.tracking import Dataset, Runs
from tidegate.gates.digest import digest_file

SECRET = "my card number is 4111-1111"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Registry.open(Home(tmp_path_factory.mktemp("home"))).runs


def test_an_update_that_starts_again_continues_its_runs(runs: Runs) -> None:
    for _ in range(2):
        parent = runs.start_update("m", "again", {"seed": "1"}, {"gov.drop": "monday"})
        with runs.stage("m", parent, "train") as train:
            runs.log_metrics(train, {"loss": [3.0, 2.0, 1.0]})
        runs.finish(parent)
    experiment = runs.client.get_experiment_by_name("m")
    assert experiment is not None
    assert len(runs.client.search_runs([experiment.experiment_id])) == 2
    assert runs.client.get_run(train).data.tags["mlflow.parentRunId"] == parent
    assert len(runs.client.get_metric_history(train, "loss")) == 3


def test_a_stage_that_breaks_is_marked(runs: Runs) -> None:
    parent = runs.start_update("m", "broken")
    with pytest.raises(ZeroDivisionError), runs.stage("m", parent, "train") as train:
        _ = 1 / 0
    assert runs.client.get_run(train).info.status == "FAILED"


def test_nothing_is_started_by_an_import_or_by_opening(tmp_path: Path) -> None:
    registry = Registry.open(Home(tmp_path))
    assert [e.name for e in registry.client.search_experiments()] == ["Default"]
    assert not registry.client.search_runs(["0"])


def test_data_sets_are_named_and_never_copied(runs: Runs, tmp_path: Path) -> None:
    path = tmp_path / "records.parquet"
    table = {"id": ["1"], "user": ["u_1"], "prompt": [SECRET], "score": [0.5]}
    parquet.write_table(pa.table(table), path)
    digest = digest_file(path)
    run_id = runs.start_update("m", "data")
    for _ in range(2):
        runs.log_datasets(
            run_id,
            [
                Dataset(f"batch {context}", path, digest, context, rows=1)
                for context in ("training", "replay", "validation")
            ],
        )
    inputs = runs.client.get_run(run_id).inputs.dataset_inputs
    assert len(inputs) == 3
    for logged in inputs:
        tags = {tag.key: tag.value for tag in logged.tags}
        assert tags["gov.digest"] == digest
        assert logged.dataset.digest == digest.removeprefix("sha256:")[:36]
        assert str(path) in logged.dataset.source
        assert '"prompt"' in logged.dataset.schema
        assert SECRET not in str(logged.to_dictionary())
    assert SECRET.encode() not in everything_stored(runs.client)


def everything_stored(client: MlflowClient) -> bytes:
    uri = client.tracking_uri
    home = Path(uri.removeprefix("sqlite:///")).parent
    return b"".join(p.read_bytes() for p in home.rglob("*") if p.is_file())


def test_an_update_id_cannot_break_out_of_the_search(runs: Runs) -> None:
    with pytest.raises(RegistryError, match="cannot be searched"):
        runs.start_update("m", "x' or tags.a='b")


@pytest.fixture
def clock() -> Iterator[None]:
    """Fails a test that waits for minutes, as MLflow itself would."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < 60


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1:9/",
        "https://somebody:hunter2@127.0.0.1:9/mlflow",
        "postgresql://somebody:hunter2@127.0.0.1:9/mlflow",
        "postgresql+psycopg2://127.0.0.1:9/mlflow",
    ],
)
def test_nobody_there(tmp_path: Path, uri: str) -> None:
    with pytest.raises(RegistryError, match=r"does not answer at .*127\.0\.0\.1:9") as refused:
        Registry.open(Home(tmp_path), uri)
    assert "start it, or correct" in str(refused.value)
    assert "hunter2" not in str(refused.value)


@pytest.mark.usefixtures("clock")
def test_a_damaged_database(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(RegistryError, match="not an intact SQLite database"):
        Registry.open(Home(tmp_path))


KILLED_AT_A_COMMIT = """
import os, sys
from pathlib import Path
from sqlalchemy.engine.default import DefaultDialect
from tidegate.flows.home import Home
from tidegate.flows.registry import Registry

commit, seen = DefaultDialect.do_commit, []

def counted(self, connection):
    seen.append(1)
    if len(seen) == 2:
        os._exit(9)
    commit(self, connection)

DefaultDialect.do_commit = counted
Registry.open(Home(Path(sys.argv[1])))
"""


@pytest.mark.slow  # a second process that imports MLflow
def test_a_database_that_was_half_made_is_made_anew(tmp_path: Path) -> None:
    """MLflow refuses its own half: 'table already exists'. The draft of the dead one goes too."""
    command = [sys.executable, "-c", KILLED_AT_A_COMMIT, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 9, done.stderr
    assert list(tmp_path.glob(".mlflow.db.*/mlflow.db"))
    assert not (tmp_path / "mlflow.db").exists()
    Registry.open(Home(tmp_path)).ensure_model("m")
    assert not list(tmp_path.glob(".mlflow.db.*"))


def test_a_database_that_somebody_else_makes_meanwhile_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    Registry.open(Home(other)).ensure_model("theirs")
    link = os.link

    def late(source: Path, target: Path) -> None:
        (other / "mlflow.db").rename(target)
        link(source, target)

    monkeypatch.setattr(os, "link", late)
    registry = Registry.open(Home(tmp_path))
    assert [m.name for m in registry.client.search_registered_models()] == ["theirs"]
    assert not list(tmp_path.glob(".mlflow.db.*"))


@pytest.mark.usefixtures("clock")
def test_a_database_in_use(tmp_path: Path) -> None:
    holder = sqlite3.connect(tmp_path / "mlflow.db")
    holder.execute("CREATE TABLE t (x)")
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(RegistryError, match="wait for the other process"):
        Registry.open(Home(tmp_path))
    holder.close()


@pytest.mark.slow  # SQLite waits for 5 seconds, and MLflow asks it four times
@pytest.mark.usefixtures("clock")
def test_a_database_locked_after_opening(tmp_path: Path) -> None:
    registry = Registry.open(Home(tmp_path))
    holder = sqlite3.connect(tmp_path / "mlflow.db")
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(RegistryError, match="locked"):
        registry.ensure_model("m")
    holder.close()


def test_a_database_of_something_else(tmp_path: Path) -> None:
    """MLflow's own refusal is passed on with what was asked."""
    database = sqlite3.connect(tmp_path / "mlflow.db")
    database.execute("CREATE TABLE alembic_version (version_num VARCHAR(32))")
    database.execute("INSERT INTO alembic_version VALUES ('nonsense')")
    database.commit()
    database.close()
    with pytest.raises(RegistryError, match="could not open"):
        Registry.open(Home(tmp_path))


@pytest.mark.parametrize(
    ("uri", "safe"),
    [
        ("sqlite:////a/b.db", "sqlite:////a/b.db"),
        ("http://u:p@host:5/x", "http://host:5/x"),
    ],
)
def test_no_password_in_a_message(uri: str, safe: str) -> None:
    assert shown(uri) == safe


def test_an_error_of_a_stage_is_not_hidden_by_one_of_ending_its_run(runs: Runs) -> None:
    parent = runs.start_update("m", "u-9")
    with pytest.raises(ZeroDivisionError) as failed, runs.stage("m", parent, "train") as train:
        runs.client.delete_run(train)
        raise ZeroDivisionError
    assert "could not end run" in failed.value.__notes__[0]


@pytest.mark.parametrize(
    ("behind", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (ValueError("(sqlite3.OperationalError) disk I/O error"), True),
        (ValueError("the path is wrong"), False),
    ],
)
def test_a_full_disk_is_named_where_mlflow_hides_it(behind: Exception, said: bool) -> None:
    with pytest.raises(RegistryError) as no, asking("fetch a file"):
        try:
            raise behind
        except (OSError, ValueError):
            raise MlflowException("ensure that the path is correct") from None
    assert ("space left on the disk" in str(no.value)) == said


def test_files_that_mlflow_cannot_fetch(runs: Runs, tmp_path: Path) -> None:
    """It drops the reason, which may be a full disk as well as files that are gone."""
    parent = runs.start_update("m", "u-files")
    with (
        pytest.raises(RegistryError, match=r"store, and is there space left on the disk\?"),
        asking("fetch the files"),
    ):
        runs.client.download_artifacts(parent, "model", str(tmp_path))
