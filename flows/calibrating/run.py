"""`tidegate policy calibrate`: what a policy's gates say where there is nothing to find.

    drops → check → sample → parent, measured again → twins → pairs → rates and spreads

The parent (a model line's champion, or the bare base) is measured again without the cache:
that is the noise of measuring. Then twins are trained from it on the same rows with the
same recipe, and only the recipe's seed differs: that is the noise of training. Anchors and
replayed rows are drawn once, for all twins.

Twins are trained on a sample of the rows, or the runs would take days; the result says on
how many. Fewer rows move single items less than an ordinary update does, and it is that
spread which decides how small a regression a gate can see: so one more adapter is trained
on as many rows as an update has, and compared with the parent.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import Field

from tidegate.evals.suite import find_suites
from tidegate.flows.calibrating.pairs import (
    calibrated,
    gate_calibration,
    judged_alike,
    repeat_noise,
)
from tidegate.flows.calibrating.parent import checked_drops, prepared, sample
from tidegate.flows.calibrating.twins import (
    Asked,
    Measured,
    Parent,
    Twin,
    machine,
    make_twins,
    measured,
    twins_folder,
)
from tidegate.flows.home import Home
from tidegate.flows.ingest import NO_DEFAULTS
from tidegate.flows.intake.scratch import scratch_folder
from tidegate.flows.progress import counted
from tidegate.flows.provenance import code_digest
from tidegate.flows.rules import read_policy
from tidegate.flows.usage import UsageError
from tidegate.gates.policy.calibration import Calibration, Rate, calibration_path
from tidegate.gates.policy.nouns import Policy
from tidegate.gates.types import Batch, Noun, Outcome, Report, ignore_progress
from tidegate.training.recipe import load_recipe

DEMO_DROP = Path(__file__).parents[1] / "demo" / "drop.jsonl"
REPEATS = 2  # where the policy names no noise floor
EXIT_BLOCKS_TOO_OFTEN = 2


class Calibrated(Noun):
    """A calibration, where it was written, and what it took.

    Seconds of twins are means, also of those that an earlier run had made; measuring the
    parent takes none where that was done before.
    """

    calibration: Calibration
    path: Path
    recipe: str
    epochs: int
    seconds: dict[str, float] = Field(description="by step")

    @property
    def exit_code(self) -> int:
        """2 if twins were blocked more often than the policy allows, by the point estimate."""
        c = self.calibration
        return EXIT_BLOCKS_TOO_OFTEN if c.blocked.share > c.false_block_rate else 0


def calibrate(
    policy_path: Path,
    *,
    recipe_path: Path,
    home: Home,
    floor: Path | None = None,
    drops: Sequence[str | Path] = (),
    defaults: Mapping[str, object] = NO_DEFAULTS,
    suites: Path | None = None,
    model: str | None = None,
    seeds: int = 20,
    rows: int = 40,
    update_rows: int = 400,
    tracking_uri: str | None = None,
    progress: Report = ignore_progress,
) -> Calibrated:
    """Judge `seeds` pairs of twins by a policy, and write the calibration beside it.

    drops: what the twins learn from, `rows` records of what the data gates keep; the demo's
    drop if there are none. defaults: as ingest takes them. suites: a folder of further
    suites that the policy names. model: a model line, whose champion is the parent; without
    one, the recipe's bare base. update_rows: of the one ordinary update.

    A run that was killed goes on where it stopped. Raises UsageError (also for drops that
    the data gates refuse), PolicyError, and CalibrationError where anything could not be
    trained, measured or judged: then nothing is written.
    """
    if seeds < 1 or rows < 1:
        raise UsageError("at least one pair of twins and one row are needed")
    policy, recipe = read_policy(policy_path, floor), load_recipe(recipe_path)
    target = calibration_path(policy_path)
    if not os.access(target.parent, os.W_OK):
        raise UsageError(f"{target}: this user may not write there; copy the policy elsewhere")
    gates = calibrated(policy)
    if not gates:
        raise UsageError(f"{policy_path}: no model gate compares, so none can be calibrated")
    names = list(dict.fromkeys(params.suite for params in gates.values()))
    asked = Asked(
        suites=tuple(find_suites(names, folders=[suites] if suites else [])),
        chunk=policy.statistics.sequential.chunk,
    )
    took: dict[str, float] = {}
    with scratch_folder(home) as work:
        with _timed(took, "check"):
            batch, checked = checked_drops(
                drops or [DEMO_DROP], defaults, policy, asked.suites, home, work, progress
            )
            new = work / "sample.parquet"
            learned = sample(checked.kept, rows, batch, new)
            sample(checked.kept, update_rows, batch, work / "update.parquet")
        with _timed(took, "prepare"):
            parent = prepared(
                recipe, model, new, learned, checked, home, work, tracking_uri, progress
            )
        ordinary = replace(parent, new=work / "update.parquet")
        folder = twins_folder(parent, asked, home.cache)
        with _alone(folder):
            first = measured(
                parent.base,
                parent.adapter,
                parent.digest,
                asked,
                cache=home.cache,
                progress=counted(progress, "measure the parent"),
            )
            again = _again(parent, asked, policy, folder, progress)
            twins = make_twins(
                parent,
                seeds + 1,
                asked,
                folder=folder,
                cache=home.cache,
                progress=progress,
            )
            (update,) = make_twins(
                ordinary,
                1,
                asked,
                folder=twins_folder(ordinary, asked, home.cache),
                cache=home.cache,
                progress=progress,
                name="one ordinary update",
            )
    calibration = _calibration(policy, parent, batch, learned, first, again, twins, update)
    _write(target, calibration)
    took["measure the parent"] = first.seconds
    took["measure it again"] = sum(one.seconds for one in again)
    took["train a twin"] = sum(twin.seconds for twin in twins) / len(twins)
    took["train an update"] = update.seconds
    took["measure a twin"] = sum(twin.measured.seconds for twin in twins) / len(twins)
    return Calibrated(
        calibration=calibration,
        path=target,
        recipe=recipe.recipe,
        epochs=recipe.epochs,
        seconds=took,
    )


def _again(
    parent: Parent, asked: Asked, policy: Policy, folder: Path, progress: Report
) -> list[Measured]:
    """The parent measured anew, each time with a cache of its own that held nothing."""
    wanted = policy.statistics.noise_floor
    count = wanted.repeats if wanted else REPEATS
    return [
        measured(
            parent.base,
            parent.adapter,
            parent.digest,
            asked,
            cache=folder / f"again-{k}",
            progress=counted(progress, f"measure it again, {k + 1} of {count}"),
        )
        for k in range(count)
    ]


def _calibration(
    policy: Policy,
    parent: Parent,
    batch: Batch,
    rows: int,
    first: Measured,
    again: Sequence[Measured],
    twins: Sequence[Twin],
    update: Twin,
) -> Calibration:
    gates = calibrated(policy)
    each = [twin.measured for twin in twins]
    pairs = list(zip(each[1:], each[:-1], strict=True))
    repeats = [(one, first) for one in again]
    stages = judged_alike(policy, list(gates), pairs)
    unlike = [{o for o in stage.values() if o is not Outcome.PASS} for stage in stages]
    return Calibration(
        policy=policy.policy,
        digest=policy.digest,
        base=parent.base.digest,
        parent=parent.digest,
        recipe=parent.recipe.digest,
        batch=batch.digest,
        code=code_digest(),
        made_at=datetime.now(UTC),
        machine=machine(),
        seeds=len(pairs),
        rows=rows,
        repeats=len(again),
        repeat_noise=repeat_noise(list(gates.values()), repeats),
        false_pass_rate=policy.statistics.false_pass_rate,
        power=policy.statistics.power,
        false_block_rate=policy.statistics.false_block_rate,
        blocked=Rate.of(sum(Outcome.FAIL in seen for seen in unlike), len(pairs)),
        not_passed=Rate.of(sum(bool(seen) for seen in unlike), len(pairs)),
        gates={
            title: gate_calibration(
                policy,
                params,
                pairs=pairs,
                outcomes=[stage[title] for stage in stages],
                update=(update.measured, first),
                repeats=repeats,
            )
            for title, params in gates.items()
        },
        left_out=tuple(use.title for use in policy.model if use.title not in gates),
    )


def _write(target: Path, calibration: Calibration) -> None:
    partial = target.with_name(f"{target.name}.partial")
    partial.write_text(calibration.model_dump_json(indent=2) + "\n", encoding="utf-8")
    partial.replace(target)


@contextmanager
def _timed(took: dict[str, float], step: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    took[step] = time.monotonic() - started


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_suffix(".lock"), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise UsageError("the same calibration is running already; wait for it") from None
    try:
        yield
    finally:
        lock.release()
