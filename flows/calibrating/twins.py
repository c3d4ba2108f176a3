"""Twins: adapters trained alike but for the seed, each measured on every suite in full.

Everything is kept below one folder that is named by all that goes in, so a run that was
killed goes on where it stopped. What stays of a twin is what it was measured at; its
weights are removed, since the same inputs make them again.
"""

import gzip
import platform
import shutil
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import Field, ValidationError

from tidegate.evals.files import write_whole
from tidegate.evals.harness import measure as run_suites
from tidegate.evals.suite import Suite
from tidegate.flows.loaded import load_measured
from tidegate.flows.made_suites import held_out
from tidegate.flows.progress import counted, named
from tidegate.gates.digest import digest_file, digest_json
from tidegate.gates.policy.calibration import CalibrationError
from tidegate.gates.types import Digest, Measurement, Noun, Report
from tidegate.training.adapter_digest import adapter_digest
from tidegate.training.base import Base, device_and_dtype
from tidegate.training.recipe import Recipe
from tidegate.training.train import train
from tidegate.training.trained import TrainingError

PACKAGE = Path(__file__).parents[2]
SEEDS = 1 << 32  # recipes take seeds below


class Measured(Noun):
    """What one model answered to every suite. Names of measurements have no role."""

    model: Digest
    measurements: tuple[Measurement, ...] = Field(min_length=1)
    seconds: float = Field(ge=0, description="none for what was kept from earlier")


class Twin(Noun):
    seed: int
    tokens: int
    seconds: float = Field(ge=0, description="of training")
    measured: Measured


@dataclass(frozen=True)
class Asked:
    """What every model is asked, all of it, in chunks as an update asks it."""

    suites: tuple[Suite, ...]
    chunk: int


@dataclass(frozen=True)
class Parent:
    """What every twin is trained from, and with: all but the seed."""

    base: Base
    digest: Digest
    adapter: Path | None
    recipe: Recipe
    new: Path
    replay: Path | None
    anchors: Path | None
    past: tuple[Path, ...] = ()  # accepted adapters, for a warm start


def twins_folder(parent: Parent, asked: Asked, cache: Path) -> Path:
    """Where these twins are kept, by all that decides what they are and how they measure."""
    replay = digest_file(parent.replay) if parent.replay else None
    key = {
        "base": parent.base.digest,
        "parent": parent.digest,
        "recipe": parent.recipe.digest,
        "new": digest_file(parent.new),
        "replay": replay,
        # Named by its inputs; see make_anchors.
        "anchors": parent.anchors.name if parent.anchors else None,
        "past": [adapter_digest(adapter) for adapter in parent.past],
        "suites": [suite.digest for suite in asked.suites],
        "chunk": asked.chunk,
        "machine": machine(),
        "code": {
            path.relative_to(PACKAGE).as_posix(): digest_file(path)
            for folder in ("training", "evals")
            for path in sorted((PACKAGE / folder).rglob("*.py"))
            if path.parent.name != "probes"  # they ask about a batch: twins are not asked
        },
    }
    return cache / "calibration" / digest_json(key).removeprefix("sha256:")


def machine() -> dict[str, str]:
    """What decides how numbers are rounded."""
    device, dtype = device_and_dtype()
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
        "dtype": str(dtype).removeprefix("torch."),
        "architecture": platform.machine(),
        "threads": str(torch.get_num_threads()),
        "torch": torch.__version__,
    }


def make_twins(
    parent: Parent,
    count: int,
    asked: Asked,
    *,
    folder: Path,
    cache: Path,
    progress: Report,
    name: str = "twin",
) -> list[Twin]:
    """Train and measure `count` twins, or read those that an earlier run finished.

    Raises CalibrationError for a twin that cannot be trained or measured, and for two twins
    with the same weights: they would show less noise than there is.
    """
    found: list[Twin] = []
    spent: list[float] = []
    for k in range(count):
        path = folder / f"twin-{k:03}.json.gz"
        twin = _read(path)
        if twin is None:
            started = time.monotonic()
            said = f"{name} {k + 1} of {count}{_left(spent, count - k)}"
            twin = _make(parent, k, asked, folder / f"twin-{k:03}", cache, said, progress)
            write_whole(path, gzip.compress(twin.model_dump_json().encode(), mtime=0))
            shutil.rmtree(folder / f"twin-{k:03}", ignore_errors=True)
            spent.append(time.monotonic() - started)
        found.append(twin)
    if len({twin.measured.model for twin in found}) < len(found):
        raise CalibrationError(
            "two twins have the same weights: the recipe gives its seed nothing to decide"
        )
    return found


def measured(
    base: Base,
    adapter: Path | None,
    digest: Digest,
    asked: Asked,
    *,
    cache: Path,
    progress: Report,
) -> Measured:
    """One model on every suite, in full. Raises CalibrationError if any suite breaks."""
    model, tokenizer = load_measured(base, adapter)
    results = run_suites(
        model,
        tokenizer,
        asked.suites,
        model_digest=digest,
        role="candidate",
        cache=cache,
        chunk=asked.chunk,
        progress=progress,
    )
    for broken in results.broken:
        raise CalibrationError(f"{broken.name} could not be measured: {broken.reason}")
    return Measured(
        model=digest,
        measurements=tuple(
            m.model_copy(update={"name": m.name.rpartition("@")[0]})
            for m in results.measurements
        ),
        seconds=sum(run.seconds for run in results.runs),
    )


def _make(
    parent: Parent,
    k: int,
    asked: Asked,
    work: Path,
    cache: Path,
    name: str,
    progress: Report,
) -> Twin:
    seed = (parent.recipe.seed + k) % SEEDS
    try:
        trained = train(
            parent.recipe.model_copy(update={"seed": seed}),
            parent.base,
            parent=parent.adapter,
            new=parent.new,
            replay=parent.replay,
            anchors=parent.anchors,
            work=work,
            past=parent.past,
            held_out=held_out(asked.suites) if parent.recipe.expand else None,
            progress=named(progress, f"{name}: train"),
        )
    except TrainingError as failed:
        raise CalibrationError(f"twin {k + 1} could not be trained: {failed}") from failed
    return Twin(
        seed=seed,
        tokens=trained.tokens,
        seconds=trained.seconds,
        measured=measured(
            parent.base,
            trained.adapter,
            trained.digest,
            asked,
            cache=cache,
            progress=counted(progress, f"{name}: measure"),
        ),
    )


def _left(spent: Sequence[float], twins: int) -> str:
    if not spent:
        return ""
    minutes = sum(spent) / len(spent) * twins / 60
    return f" ({minutes:.0f} min left)"


def _read(path: Path) -> Twin | None:
    """What an earlier run finished; a damaged file counts as none and is made again."""
    try:
        return Twin.model_validate_json(gzip.decompress(path.read_bytes()))
    except (OSError, EOFError, zlib.error, ValidationError):
        return None
