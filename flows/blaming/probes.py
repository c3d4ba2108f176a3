"""Short probes: some rows learned from the parent, and what that does to the failed suites.

Every probe is plain LoRA with the update's own rank, rate and seed, the same number of steps
and as many rows, so that two probes differ in their rows alone. Anchors and replay are left
out: they hold harm back, and a probe should show it. Rows are not expanded, so what only an
expansion did is not found. Of each suite the first ITEMS in its random order are asked, enough
to see a loss that made a gate fail. So a probe says which rows do harm, not how much of it the update
would have done.

A probe that was made is kept as numbers, by a digest of all that it came from; its weights and
its rows are removed. Run again after a kill, the search goes on where it was.
"""

import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from tidegate.evals.files import write_whole
from tidegate.evals.harness import measure as run_suites
from tidegate.evals.suite import Suite
from tidegate.flows.blaming.search import Loss, OutOfProbes
from tidegate.flows.loaded import load_measured
from tidegate.flows.progress import counted, named
from tidegate.flows.usage import UsageError
from tidegate.gates.comparison import paired
from tidegate.gates.digest import digest_json, item_order
from tidegate.gates.types import CandidateEvidence, Digest, Measurement, Noun, Report
from tidegate.training.base import Base
from tidegate.training.recipe import Recipe
from tidegate.training.train import train
from tidegate.training.trained import TrainingError

ITEMS = 96  # of a suite; at a spread of 0.4 the mean of so many has an error of 0.04


class Asked(Noun):
    """What one failed gate asks: the suite, its metric, and the loss that it allows."""

    suite: str
    metric: str
    margin: float

    @property
    def name(self) -> str:
        return f"{self.suite}.{self.metric}"


class _Kept(Noun):
    changes: dict[str, tuple[float, ...]]


@dataclass
class Prober:
    """Learns some rows from the parent and measures the suites that failed.

    learned: the rows of the update, in order, with all columns that training reads. rows: how
    many of them one probe learns; fewer are learned more often. most: how many probes may be
    made; what was kept from earlier costs nothing.
    """

    base: Base
    parent: Path | None
    parent_digest: Digest
    recipe: Recipe
    learned: pa.Table
    asked: Sequence[Asked]
    suites: Sequence[Suite]
    chunk: int
    cache: Path
    folder: Path
    rows: int
    most: int
    progress: Report
    made: int = 0
    _before: tuple[Measurement, ...] = field(default=())

    def __call__(self, places: Collection[int]) -> Loss:
        """Raises OutOfProbes, and UsageError where a probe cannot be trained or measured."""
        chosen = self._chosen(places)
        recipe = self._recipe(len(chosen))
        ids = [self.learned["id"][place].as_py() for place in chosen]
        key = digest_json(
            {
                "base": self.base.digest,
                "parent": self.parent_digest,
                "recipe": recipe.digest,
                "rows": ids,
                "suites": [suite.digest for suite in self.suites],
                "metrics": [asked.name for asked in self.asked],
                "items": ITEMS,
            }
        )
        path = self.folder / f"{key.removeprefix('sha256:')[:24]}.json"
        changes = _read(path)
        if changes is None:
            if self.made >= self.most:
                raise OutOfProbes
            self.made += 1
            changes = self._probe(chosen, recipe)
            kept = _Kept(changes=changes).model_dump_json()
            write_whole(path, kept.encode())
        return Loss(changes, {asked.name: asked.margin for asked in self.asked})

    def _chosen(self, places: Collection[int]) -> list[int]:
        order = item_order([str(place) for place in sorted(places)], str(self.recipe.seed))
        return sorted(int(place) for place in order[: self.rows])

    def _recipe(self, rows: int) -> Recipe:
        """Plain LoRA over as many rows as every probe sees, however few are distinct."""
        return self.recipe.model_copy(
            update={
                "method": "lora",
                "replay": None,
                "anchors": None,
                "expand": None,
                "epochs": max(1, round(self.recipe.epochs * self.rows / rows)),
            }
        )

    def _probe(self, chosen: Sequence[int], recipe: Recipe) -> dict[str, tuple[float, ...]]:
        name = f"probe {self.made} of at most {self.most}"
        work = self.folder / "now"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(mode=0o700, parents=True)
        try:
            pq.write_table(self.learned.take(pa.array(chosen)), work / "new.parquet")
            trained = train(
                recipe,
                self.base,
                parent=self.parent,
                new=work / "new.parquet",
                replay=None,
                anchors=None,
                work=work / "train",
                progress=named(self.progress, f"{name}: train"),
            )
            after = self._measured(trained.adapter, trained.digest, f"{name}: measure")
        except TrainingError as no:
            raise UsageError(
                f"a probe of {len(chosen)} rows could not be trained: {no}"
            ) from no
        finally:
            shutil.rmtree(work, ignore_errors=True)  # its rows are text of users
        if not self._before:
            self._before = self._measured(self.parent, self.parent_digest, "measure the parent")
        evidence = CandidateEvidence(
            subject=trained.digest,
            measurements=(*_as(after, "candidate"), *_as(self._before, "champion")),
        )
        return {
            asked.name: paired(evidence, asked.suite, asked.metric, "champion").values
            for asked in self.asked
        }

    def _measured(
        self, adapter: Path | None, digest: Digest, stage: str
    ) -> tuple[Measurement, ...]:
        model, tokenizer = load_measured(self.base, adapter)
        results = run_suites(
            model,
            tokenizer,
            self.suites,
            model_digest=digest,
            role="candidate",
            cache=self.cache,
            first={suite.name: min(suite.n, ITEMS) for suite in self.suites},
            chunk=self.chunk,
            progress=counted(self.progress, stage),
        )
        for broken in results.broken:
            raise UsageError(f"{broken.name} could not be measured: {broken.reason}")
        return results.measurements


def _as(measured: Sequence[Measurement], role: str) -> list[Measurement]:
    return [
        m.model_copy(update={"name": f"{m.name.rpartition('@')[0]}@{role}"}) for m in measured
    ]


def _read(path: Path) -> dict[str, tuple[float, ...]] | None:
    """What an earlier run found; a damaged file counts as none and is made again."""
    try:
        return _Kept.model_validate_json(path.read_bytes()).changes
    except (FileNotFoundError, ValidationError):
        return None
