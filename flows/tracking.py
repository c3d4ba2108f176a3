"""The runs of MLflow in which an update leaves its evidence.

One parent run per update, one nested run per stage; both are found again by their tags, so
an update that was killed and is started again continues its own runs. MLflow is asked
through a client of its own, never through the fluent interface: there is no active run
that a second update in the same process could write into.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.flows.connection import RegistryError, asking

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Dataset as DatasetEntity

UPDATE_TAG = "gov.update_id"
STAGE_TAG = "gov.stage"
PARENT_TAG = "mlflow.parentRunId"
COLUMN_TYPES = {"string": "string", "bool": "boolean", "int64": "long", "double": "double"}
DATASET_DIGEST_LIMIT = 36
PARAM_LIMIT, RUN_TAG_LIMIT, PER_BATCH = 6_000, 8_000, 100


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
