"""What one update of a sequence teaches, and how it is asked about afterwards."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from tidegate.evals.files import write_whole
from tidegate.evals.suite import Choices, Suite, load_suite
from tidegate.evals.task_file import choices_task
from tidegate.evals.unlearning import Exchange
from tidegate.gates.digest import digest_json
from tidegate.gates.types import Digest, Noun

VERSION = 1


class Lesson(Noun):
    """Exchanges to train on, and held-out questions that are never trained on."""

    rows: tuple[Exchange, ...] = Field(min_length=1)
    probes: tuple[Choices, ...] = Field(min_length=1)

    @property
    def digest(self) -> Digest:
        return digest_json(self.model_dump(mode="json"))


def probe_suite(lesson: Lesson, name: str, out: Path, *, in_context: bool = False) -> Suite:
    """Write `out`/NAME.yaml and NAME.jsonl, and return the suite.

    in_context: each question comes after everything that the lesson teaches, so that a model
    can be asked which never learned it.
    """
    known = "".join(f"- {row.answer}\n" for row in lesson.rows) if in_context else ""
    lines = []
    for probe in lesson.probes:
        question = f"{known}\n{probe.question}" if known else probe.question
        lines.append(probe.model_copy(update={"question": question}).model_dump_json() + "\n")
    write_whole(out / f"{name}.jsonl", "".join(lines).encode())
    task = choices_task(
        name,
        version=VERSION,
        metrics=("margin", "acc", "answer_nll"),
        about={"source": "held-out paraphrases", "rows": len(lesson.rows)},
    )
    write_whole(out / f"{name}.yaml", task.encode())
    return load_suite(out / f"{name}.yaml")


def sequence_digest(lessons: Sequence[Lesson]) -> Digest:
    """Names a whole sequence: what is taught, what is asked, and in which order."""
    return digest_json([lesson.digest for lesson in lessons])
