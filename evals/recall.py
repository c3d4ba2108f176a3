"""What a model still says about rows that it may not know any more: the exam, and its answers.

For each row, by the model's own chat template:

    loss        of the answer after the true conversation, in nats a token
    completed   whether greedy decoding, given the first half of the answer, says the rest of it
                word for word (Carlini et al. 2023, arXiv 2202.07646)
    ratio       the truth ratio (unlearning.py) of the question put in other words, against
                answers to other rows, nearest in length

The rewordings are by templates, and the right answer is the row's own: weaker than TOFU's
paraphrases by people. The exam holds text of users: it is kept no longer than it is needed.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from tidegate.evals.harness import Subject
from tidegate.evals.probes.forward import Span, longest, score
from tidegate.evals.probes.probe import Given
from tidegate.evals.probes.rows import learned_rows, prompt_ids, text_ids
from tidegate.evals.rewording import rewordings
from tidegate.evals.samples import Unusable
from tidegate.evals.unlearning import (
    EXTRACTION_P,
    MEMBERSHIP_AUC,
    TRUTH_RATIO_P,
    Unmeasured,
    extraction,
    membership,
    same_ratios,
)
from tidegate.evals.update_suite import ANSWER_WORDS, Row, distractors
from tidegate.evals.update_suite import learned_rows as askable_rows
from tidegate.gates.types import Broken, Digest, Measurement, Noun, Report

MOST = 64  # rows
Messages = tuple[dict[str, str], ...]


class Asked(Noun):
    """One row: as it was learned, and as it is asked about."""

    messages: Messages  # before the answer
    answer: str = Field(min_length=1)
    reworded: Messages
    right: str = Field(min_length=1)
    wrong: tuple[str, ...] = Field(min_length=1)


class Exam(Noun):
    """What is asked, and of how many rows it is a choice."""

    asked: tuple[Asked, ...]
    learned: int


class Recall(Noun):
    """What one model answered, row by row in the exam's order."""

    losses: tuple[float, ...]
    completed: tuple[bool, ...]
    ratios: tuple[float, ...]


@dataclass(frozen=True)
class Examinee:
    """A loaded model and what names it."""

    model: Any
    tokenizer: Any
    digest: Digest


def make_exam(erased: Path, others: Path, seed: int) -> Exam:
    """An exam on up to MOST of the rows in `erased`; wrong answers are those of `others`.

    Both are Parquet files of records. Raises Unusable or SuiteError for a file that is no
    batch, and for one with no row that is learned.
    """
    rows, learned = learned_rows(erased, MOST, seed)
    pool = askable_rows(others, seed)
    asked = []
    for row in rows:
        right = " ".join(row.answer.split(" ")[:ANSWER_WORDS]).strip()
        wrong = distractors(Row(row.name, row.question, "", right, english=True), pool)
        if not (row.question and right and wrong):
            continue
        forms = rewordings(row.question, seed=f"{seed}:{row.name}")
        said = forms[0][1] if forms else row.question
        last = max(i for i, m in enumerate(row.messages) if m["role"] == "user")
        reworded = (*row.messages[:last], {"role": "user", "content": said})
        asked.append(
            Asked(
                messages=row.messages,
                answer=row.answer,
                reworded=reworded,
                right=right,
                wrong=tuple(wrong),
            )
        )
    return Exam(asked=tuple(asked), learned=learned)


def recall(exam: Exam, examinee: Examinee, cache: Path, progress: Report) -> Recall:
    """What a model answers. Raises Unusable for a row that it cannot read."""
    subject = Subject(examinee.model, examinee.tokenizer, examinee.digest, cache)
    given = Given(
        subject=lambda _: subject,
        digests={"candidate": examinee.digest},
        base=examinee.digest,
        kept=cache,
        cache=cache,
        progress=progress,
    )
    tokenizer, room = examinee.tokenizer, longest(subject)
    spans: list[Span] = []
    for one in exam.asked:
        for messages, answer in _pairs(one):
            said = text_ids(tokenizer, answer)[: room - 1]
            spans.append(Span(prompt_ids(tokenizer, messages)[-(room - len(said)) :], said))
    scored = iter(score(given, subject, spans, "ask about the erased rows"))
    losses, completed, ratios = [], [], []
    for one in exam.asked:
        own, right, *wrong = (next(scored) for _ in _pairs(one))
        losses.append(-sum(own.logprobs) / len(own.logprobs))
        completed.append(all(own.greedy[len(own.greedy) // 2 :]))
        likely = [math.exp(sum(s.logprobs) / len(s.logprobs)) for s in wrong]
        ratios.append(
            math.exp(sum(right.logprobs) / len(right.logprobs)) / (sum(likely) / len(likely))
        )
    if not all(map(math.isfinite, (*losses, *ratios))):
        raise Unusable("an answer is not a finite number")
    return Recall(losses=tuple(losses), completed=tuple(completed), ratios=tuple(ratios))


def compare(
    candidate: Recall, twin: Recall
) -> tuple[tuple[Measurement, ...], tuple[Broken, ...]]:
    """The measures of unlearning.py, on the same rows under both; what cannot be is Broken."""
    measured: list[Measurement] = []
    broken: list[Broken] = []
    measures: dict[str, Callable[[], Measurement]] = {
        TRUTH_RATIO_P: lambda: same_ratios(candidate.ratios, twin.ratios),
        MEMBERSHIP_AUC: lambda: membership(candidate.losses, twin.losses, paired=True),
        EXTRACTION_P: lambda: extraction(candidate.completed, twin.completed),
    }
    for name, measure in measures.items():
        try:
            measured.append(measure())
        except Unmeasured as no:
            broken.append(Broken(name=name, reason=str(no)))
    return tuple(measured), tuple(broken)


def _pairs(one: Asked) -> Iterator[tuple[Sequence[dict[str, str]], str]]:
    yield one.messages, one.answer
    for answer in (one.right, *one.wrong):
        yield one.reworded, answer
