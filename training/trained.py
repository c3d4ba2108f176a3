"""What training hands on: an adapter, and how it came to be."""

import json
import os
import shutil
from pathlib import Path

from pydantic import Field

from tidegate.gates.digest import canonical
from tidegate.gates.types import Digest, Noun
from tidegate.training.adapter_digest import WEIGHTS, adapter_digest


class TrainingError(ValueError):
    """Training that cannot start or must not go on, and what would do."""


class RankError(RuntimeError):
    """This machine cannot share the training so; it says nothing about what is to be learned.

    No TrainingError: that would be a verdict, and reject the batch.
    """


class LostRank(RankError):
    """Another process is gone, or does not answer."""


class Step(Noun):
    """One optimizer step. Losses before their weights: nats per learned token, and for
    preferences per pair or rating; the penalty `fisher` is in nats per token too. Of grpo it is
    the mean objective of the step's answers, which is no measure of what was learned."""

    step: int
    learning_rate: float
    losses: dict[str, float]
    gradient_norm: float
    tokens: int


class Counts(Noun):
    """What training was given, what it could use, and how often it saw it."""

    rows: dict[str, int]  # distinct rows by source
    seen: dict[str, int]  # rows by source, over all steps
    answer_tokens: dict[str, int]  # learned tokens by source, over all steps
    skipped: dict[str, int]  # rows never learned from, as "source: reason"
    truncated: int  # rows whose prompt lost its beginning
    rollouts: dict[str, int] = Field(
        default_factory=dict, description="what the parent wrote, and what was kept of it"
    )
    expanded: dict[str, int] = Field(
        default_factory=dict, description="what was made from the new rows, and what was not"
    )


class Trained(Noun):
    """An adapter and how it came to be. `tokens` are real ones, prompts included."""

    adapter: Path
    digest: Digest
    inputs: Digest
    steps: int
    tokens: int
    seconds: float
    packed: bool
    history: tuple[Step, ...]
    counts: Counts
    after: dict[str, float] = Field(
        default_factory=dict, description="what was done to the adapter besides its steps"
    )
    past: tuple[Digest, ...] | None = Field(
        default=None,
        description="accepted adapters that a warm start was made of, newest first",
    )
    processes: int = Field(default=1, description="that shared a step, at most")
    threads: int | None = Field(
        default=None, description="of the CPU in each process; None: from before it was noted"
    )


def finish(work: Path, trained: Trained) -> None:
    from tidegate.training import checkpoint  # torch, which who only reads this need not have

    partial = work / "trained.json.partial"
    with partial.open("wb") as file:
        file.write(canonical(trained.model_dump(mode="json", exclude={"adapter"})))
        file.flush()
        os.fsync(file.fileno())  # or a power cut leaves an empty file of the right name
    partial.replace(work / "trained.json")
    for folder in checkpoint.found(work):
        shutil.rmtree(folder)


def finished(work: Path, inputs: Digest) -> Trained | None:
    """What an earlier run with these inputs left, if its adapter is still what it was."""
    note = work / "trained.json"
    if not note.is_file():
        return None
    try:
        data = json.loads(note.read_bytes()) | {"adapter": str(work / "adapter")}
        trained = Trained.model_validate_json(json.dumps(data))
    except (ValueError, TypeError):
        return None  # cut off by a crash of the machine: trained again, to the same bytes
    if trained.inputs != inputs or not (trained.adapter / WEIGHTS).is_file():
        return None
    return trained if adapter_digest(trained.adapter) == trained.digest else None
