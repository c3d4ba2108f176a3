"""Run one arm on one sequence, or find what an earlier run made of the same.

    lessons → for each: train on the arm's own last adapter → ask all probes, text, refusals

Everything lies below cache/sequence in folders that are named by what decides the result:
base, lessons, recipe, what is measured, machine, and the code that trains and measures. A
run that was killed goes on where it stopped; an arm that was finished is read. The weights
of a finished arm are removed: the same inputs make them again.
"""

import shutil
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock
from pydantic import Field, ValidationError

from tidegate.evals.files import write_whole
from tidegate.evals.harness import Subject, SuiteResults
from tidegate.evals.sequence.drift import TOKENS, drift
from tidegate.evals.sequence.lesson import Lesson, probe_suite, sequence_digest
from tidegate.evals.suite import Suite, Text, find_suites, numbered_lines, parse_line
from tidegate.flows import replay_store
from tidegate.flows.calibrating.twins import machine
from tidegate.flows.exchanges import write_exchanges
from tidegate.flows.home import Home
from tidegate.flows.progress import counted, named
from tidegate.flows.provenance import code_digest
from tidegate.flows.sequencing.arms import Arm
from tidegate.flows.sequencing.result import Answered, ArmResult, Cost, State
from tidegate.gates.digest import digest_file, digest_json
from tidegate.gates.types import Digest, Noun, Report
from tidegate.training.anchors import make_anchors
from tidegate.training.base import Base, load_model
from tidegate.training.recipe import Recipe
from tidegate.training.train import train
from tidegate.training.trained import Trained

CODE = ("training", "evals")
CONTEXT_TOKENS = 2048  # of a tree in which all questions of an update share its facts


class SequenceError(ValueError):
    """An arm that could not be measured, and why."""


class Asked(Noun):
    """What every model is asked beside the probes."""

    texts: int = Field(default=24, ge=1, description="passages of `general_text`")
    refusals: int = Field(default=32, ge=1, description="items of `refusal`")


@dataclass(frozen=True)
class Series:
    """The lessons of one seed on one base, and what else is asked."""

    base: Base
    lessons: tuple[Lesson, ...]
    seed: int
    asked: Asked
    home: Home

    @cached_property
    def data(self) -> Digest:
        return sequence_digest(self.lessons)

    @cached_property
    def general(self) -> Suite:
        return find_suites(["general_text"])[0]

    @cached_property
    def refusal(self) -> Suite:
        return find_suites(["refusal"])[0]

    @cached_property
    def passages(self) -> tuple[str, ...]:
        """The first passages in the suite's own order."""
        by_id = {
            item.id: item.text
            for number, line in numbered_lines(self.general.items_path)
            for item in [parse_line(Text, line, self.general.items_path, number)]
        }
        return tuple(by_id[name] for name in self.general.order[: self.asked.texts])

    def folder(self, *decides: Any) -> Path:
        """Where the result lies that all this decides."""
        key = {
            "base": self.base.digest,
            "data": self.data,
            "asked": [
                self.asked.model_dump(),
                self.general.digest,
                self.refusal.digest,
                TOKENS,
            ],
            "machine": machine(),
            "code": code_digest(CODE),
            "of": list(decides),
        }
        name = digest_json(key).removeprefix("sha256:")
        return self.home.cache / "sequence" / name[:32]


def run_arm(arm: Arm, sequence: Series, progress: Report) -> ArmResult:
    """The arm's result on the sequence. Raises SequenceError, TrainingError, AnchorError."""
    recipe = None
    if arm.recipe is not None:
        recipe = arm.recipe.model_copy(update={"seed": sequence.seed})
    folder = sequence.folder(arm.kind, recipe.digest if recipe else None)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        origin = _kept(sequence.folder("origin") / "state.json")
        if origin is None:
            origin = _origin(sequence, progress)
        if recipe is None:
            states = [_in_context(sequence, folder, progress)]
        elif arm.kind == "joint":
            states = [_joint(recipe, sequence, folder, progress)]
        else:
            states = _sequential(recipe, sequence, folder, arm.name, progress)
        _remove_weights(folder)
    return ArmResult(
        arm=arm.name,
        kind=arm.kind,
        seed=sequence.seed,
        recipe=recipe.digest if recipe else None,
        data=sequence.data,
        states=(origin, *states),
    )


def _origin(sequence: Series, progress: Report) -> State:
    folder = sequence.folder("origin")
    with FileLock(f"{folder}.lock"):
        state = _kept(folder / "state.json")
        if state is None:
            model, tokenizer = load_model(sequence.base)
            subject = Subject(model, tokenizer, sequence.base.digest, sequence.home.cache)
            state = _state(
                sequence, subject, folder, 0, counted(progress, "measure the origin")
            )
            text = drift(model, tokenizer, sequence.passages, nullcontext)
            state = state.model_copy(update={"text": text})
            _keep(folder / "state.json", state)
    return state


def _sequential(
    recipe: Recipe, sequence: Series, folder: Path, name: str, progress: Report
) -> list[State]:
    """Learn lesson after lesson, each from the adapter of the one before."""
    done = [_kept(folder / f"state-{t}.json") for t in range(1, len(sequence.lessons) + 1)]
    states = [state for state in done if state is not None]
    if len(states) == len(done):
        return states
    states, parent = [], None
    past: list[Path] = []  # adapters so far, newest first
    accepted: list[str] = []
    store = Home(folder / "accepted")  # what each update may rehearse, as after a promotion
    for t, lesson in enumerate(sequence.lessons, 1):
        said = f"{name}, seed {sequence.seed}, update {t} of {len(sequence.lessons)}"
        rows = write_exchanges(folder / f"rows-{t}.parquet", lesson.rows)
        wanted = round(recipe.replay.share * len(lesson.rows)) if recipe.replay else 0
        drawn = replay_store.draw(
            store, accepted, wanted, recipe.seed, (), folder / f"replay-{t}.parquet"
        )
        trained = _trained(
            recipe,
            sequence,
            parent,
            past,
            rows,
            drawn.path,
            folder / f"update-{t}",
            said,
            progress,
        )
        parent = trained
        past.insert(0, trained.adapter)
        states.append(_measured(sequence, trained, folder, t, said, progress))
        batch = digest_file(rows)
        replay_store.remember(store, batch, rows)
        accepted.append(batch)
    return states


def _joint(recipe: Recipe, sequence: Series, folder: Path, progress: Report) -> State:
    """All lessons at once, from the base: what no order of updates could forget."""
    updates = len(sequence.lessons)
    kept = _kept(folder / f"state-{updates}.json")
    if kept is not None:
        return kept
    said = f"joint, seed {sequence.seed}"
    every = [row for lesson in sequence.lessons for row in lesson.rows]
    rows = write_exchanges(folder / "rows.parquet", every)
    trained = _trained(
        recipe, sequence, None, (), rows, None, folder / f"update-{updates}", said, progress
    )
    return _measured(sequence, trained, folder, updates, said, progress)


def _in_context(sequence: Series, folder: Path, progress: Report) -> State:
    """The base, asked each probe after all that the probe's own lesson teaches."""
    kept = _kept(folder / "state.json")
    if kept is not None:
        return kept
    model, tokenizer = load_model(sequence.base)
    subject = Subject(
        model,
        tokenizer,
        sequence.base.digest,
        sequence.home.cache,
        tree_tokens=CONTEXT_TOKENS,
    )
    suites = _suites(sequence, folder, in_context=True)
    report = counted(progress, f"in-context, seed {sequence.seed}: measure")
    results = _whole(subject.measure(suites, role="candidate", progress=report))
    probes = tuple(_answered(results, suite) for suite in suites)
    state = State(updates=len(sequence.lessons), model=sequence.base.digest, probes=probes)
    _keep(folder / "state.json", state)
    return state


def _trained(
    recipe: Recipe,
    sequence: Series,
    parent: Trained | None,
    past: Sequence[Path],
    rows: Path,
    replay: Path | None,
    work: Path,
    said: str,
    progress: Report,
) -> Trained:
    adapter = parent.adapter if parent else None
    anchors = None
    if recipe.answers:
        anchors = make_anchors(
            recipe,
            sequence.base,
            adapter,
            parent.digest if parent else None,
            cache=sequence.home.cache,
            progress=named(progress, f"{said}: anchors"),
        )
    return train(
        recipe,
        sequence.base,
        parent=adapter,
        new=rows,
        replay=replay,
        anchors=anchors,
        work=work,
        past=past,
        held_out=[probe.question for lesson in sequence.lessons for probe in lesson.probes],
        progress=named(progress, f"{said}: train"),
    )


def _measured(
    sequence: Series, trained: Trained, folder: Path, t: int, said: str, progress: Report
) -> State:
    path = folder / f"state-{t}.json"
    kept = _kept(path)
    if kept is not None and kept.model == trained.digest:
        return kept
    model, tokenizer = load_model(sequence.base, trained.adapter)
    subject = Subject(model, tokenizer, trained.digest, sequence.home.cache)
    state = _state(sequence, subject, folder, t, counted(progress, f"{said}: measure"))
    cost = Cost(seconds=trained.seconds, tokens=trained.tokens, steps=trained.steps)
    text = drift(model, tokenizer, sequence.passages, model.disable_adapter)
    state = state.model_copy(update={"cost": cost, "text": text})
    _keep(path, state)
    return state


def _state(
    sequence: Series, subject: Subject, folder: Path, updates: int, progress: Report
) -> State:
    """All probes and the refusals."""
    suites = _suites(sequence, folder, in_context=False)
    first = {suite.name: suite.n for suite in suites}
    first[sequence.refusal.name] = sequence.asked.refusals
    results = _whole(
        subject.measure(
            [*suites, sequence.refusal], role="candidate", first=first, progress=progress
        )
    )
    refusals = _values(results, sequence.refusal, "margin")
    return State(
        updates=updates,
        model=subject.digest,
        probes=tuple(_answered(results, suite) for suite in suites),
        refusal=refusals,
    )


def _suites(sequence: Series, folder: Path, *, in_context: bool) -> list[Suite]:
    return [
        probe_suite(lesson, f"probes_{t}", folder / "suites", in_context=in_context)
        for t, lesson in enumerate(sequence.lessons, 1)
    ]


def _whole(results: SuiteResults) -> SuiteResults:
    for broken in results.broken:
        raise SequenceError(f"{broken.name} could not be measured: {broken.reason}")
    return results


def _answered(results: SuiteResults, suite: Suite) -> Answered:
    items = next(run for run in results.runs if run.suite == suite.name).samples
    return Answered(
        items=tuple(sample.item for sample in items),
        slices=tuple(sample.slice for sample in items),
        margin=_values(results, suite, "margin"),
        loglik=tuple(-value for value in _values(results, suite, "answer_nll")),
    )


def _values(results: SuiteResults, suite: Suite, metric: str) -> tuple[float, ...]:
    samples = next(run for run in results.runs if run.suite == suite.name).samples
    return tuple(sample.metrics[metric] for sample in samples)


def _keep(path: Path, state: State) -> None:
    body = state.model_dump(mode="json")
    write_whole(path, Kept(digest=digest_json(body), state=state).model_dump_json().encode())


class Kept(Noun):
    digest: Digest
    state: State


def _kept(path: Path) -> State | None:
    """What an earlier run measured; a damaged file counts as none and is made again."""
    try:
        kept = Kept.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
    whole = kept.digest == digest_json(kept.state.model_dump(mode="json"))
    return kept.state if whole else None


def _remove_weights(folder: Path) -> None:
    for work in [*folder.glob("update-*"), folder / "accepted"]:
        shutil.rmtree(work, ignore_errors=True)
