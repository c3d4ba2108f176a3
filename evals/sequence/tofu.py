"""TOFU as a sequence of updates: invented authors, from a copy on this machine.

Rows need what TOFU's `*_perturbed` files have: question, answer, paraphrased_question,
paraphrased_answer and perturbed_answer. The exchange is trained on; the paraphrased question
with the paraphrased answer and its perturbations is the held-out probe.

Source: Maini et al. 2024, arXiv 2401.06121. Nothing of it is shipped.
"""

import random
from pathlib import Path

from pydantic import ConfigDict, Field

from tidegate.evals.sequence.lesson import Lesson
from tidegate.evals.suite import Choices, SuiteError, numbered_lines, parse_line
from tidegate.evals.unlearning import Exchange
from tidegate.gates.types import Noun

AUTHOR = 20  # consecutive rows about one author


class Perturbed(Noun):
    """One row of a perturbed file; whatever else it has is not read."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)
    question: str = Field(min_length=1)
    answer: str = Field(min_length=1)
    paraphrased_question: str = Field(min_length=1)
    paraphrased_answer: str = Field(min_length=1)
    perturbed_answer: tuple[str, ...] = Field(min_length=1, strict=False)


def tofu(path: Path, updates: int, rows: int, seed: int) -> tuple[Lesson, ...]:
    """`updates` lessons of `rows` rows; which authors, and in which order, the seed decides.

    path: a perturbed file as JSON Lines, or a folder in which the files `retain_perturbed*`
    are read. Raises SuiteError for a row that is not one, and if there are too few.
    """
    files = sorted(path.glob("retain_perturbed*")) if path.is_dir() else [path]
    found = [
        (number, parse_line(Perturbed, line, file, number))
        for file in files
        for number, line in numbered_lines(file)
    ]
    if len(found) < updates * rows:
        raise SuiteError(
            f"{path}: {len(found)} rows with paraphrases (retain_perturbed*) are not enough "
            f"for {updates} updates of {rows}"
        )
    authors = [found[at : at + AUTHOR] for at in range(0, len(found), AUTHOR)]
    random.Random(f"tofu {seed}").shuffle(authors)
    drawn = [row for author in authors for row in author]
    return tuple(
        _lesson(update + 1, drawn[update * rows : (update + 1) * rows])
        for update in range(updates)
    )


def _lesson(update: int, rows: list[tuple[int, Perturbed]]) -> Lesson:
    named = [(f"u{update}-{number:04}", row) for number, row in rows]
    return Lesson(
        rows=tuple(Exchange(id=n, question=r.question, answer=r.answer) for n, r in named),
        probes=tuple(
            Choices(
                id=name,
                slice="author",
                question=row.paraphrased_question,
                choices=_distinct(row),
                answer=0,
            )
            for name, row in named
        ),
    )


def _distinct(row: Perturbed) -> tuple[str, ...]:
    """The right answer first, then the wrong ones; a few files repeat one."""
    texts = [text.strip() for text in (row.paraphrased_answer, *row.perturbed_answer)]
    return tuple(dict.fromkeys(texts))
