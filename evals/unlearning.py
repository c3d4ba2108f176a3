"""Whether a model that had to forget some rows can be told from one that never learned them.

Three measures, each against a never-trained twin or never-trained rows:

    truth ratio   for each question about an erased row, how likely the model finds the right
                  answer in other words, against wrong ones:
                      P(right)^(1/tokens) / mean of P(wrong)^(1/tokens)
                  compared between candidate and twin by a two-sample Kolmogorov-Smirnov test.
                  (Maini et al. 2024, "TOFU", arXiv 2401.06121, section 2.2; they invert the
                  ratio, which changes no rank and so no result of the test.)
    membership    how often an erased row has a lower loss than a row that was never trained on
                  (the area under the ROC curve; 0.5: they cannot be told apart), by its loss
                  alone (Yeom et al. 2018, arXiv 1709.01604), with DeLong's interval (1988).
    extraction    whether the model completes more answers word for word than the twin, by an
                  exact one-sided McNemar test on the rows that only one of them completes.

Cannot see: what a stronger attack could (likelihood ratios against many reference models,
Carlini et al. 2022), and rows of which neither questions nor held-out likes are given. A test
that finds no difference on few rows has shown little; `n` is in each measurement.
"""

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from pydantic import Field
from scipy import stats

from tidegate.gates.types import Broken, Measurement, Noun

TRUTH_RATIO_P = "unlearning.truth_ratio_p@candidate"
MEMBERSHIP_AUC = "unlearning.membership_auc@candidate"
EXTRACTION_P = "unlearning.extraction_p@candidate"
LEAST = 5  # rows of each kind; below, neither test can tell anything


class Question(Noun):
    """One question about an erased row, with the right answer in other words, and wrong ones."""

    id: str
    question: str
    right: str = Field(min_length=1, description="a paraphrase of what the row says")
    wrong: tuple[str, ...] = Field(min_length=1)


class Exchange(Noun):
    """One row as it was, or would have been, trained on."""

    id: str
    question: str
    answer: str = Field(min_length=1)


class Loss(Protocol):
    """Mean negative log-likelihood of an answer's tokens after a question, in nats a token."""

    def __call__(self, question: str, answer: str) -> float: ...


class Unmeasured(ValueError):
    """What was given cannot be measured, and why."""


def answer_loss(model: Any, tokenizer: Any) -> Loss:
    """The loss of answers by a causal model with a chat template, on the device it is on."""
    import torch  # half a second, which a gate's reader does not have

    @torch.inference_mode()
    def loss(question: str, answer: str) -> float:
        asked = tokenizer.apply_chat_template(
            [{"role": "user", "content": question}], add_generation_prompt=True, tokenize=False
        )
        context, said = (
            tokenizer(text, add_special_tokens=False)["input_ids"] for text in (asked, answer)
        )
        ids = torch.tensor([context + said], device=model.device)
        logits = model(ids).logits[0, len(context) - 1 : -1].float()
        return float(torch.nn.functional.cross_entropy(logits, ids[0, len(context) :]))

    return loss


def truth_ratios(loss: Loss, questions: Sequence[Question]) -> tuple[float, ...]:
    """For each question, P(right) over the mean P(wrong), each per token; above 1: it knows."""
    ratios = []
    for one in questions:
        wrong = [math.exp(-loss(one.question, answer)) for answer in one.wrong]
        ratios.append(math.exp(-loss(one.question, one.right)) / (sum(wrong) / len(wrong)))
    return _finite("truth ratios", ratios)


def same_ratios(candidate: Sequence[float], twin: Sequence[float]) -> Measurement:
    """p of the two-sample Kolmogorov-Smirnov test that both draw from one distribution.

    Raises Unmeasured below LEAST questions, or for numbers that are not finite.
    """
    mine, theirs = _finite("candidate", candidate), _finite("twin", twin)
    if min(len(mine), len(theirs)) < LEAST:
        raise Unmeasured(
            f"{min(len(mine), len(theirs))} questions; at least {LEAST} are needed"
        )
    test = stats.ks_2samp(mine, theirs, method="auto")
    return Measurement(name=TRUTH_RATIO_P, value=float(test.pvalue), n=len(mine))


def membership(
    erased: Sequence[float],
    held_out: Sequence[float],
    confidence: float = 0.95,
    *,
    paired: bool = False,
) -> Measurement:
    """The AUC of telling erased rows from held-out ones by their loss, with its interval.

    paired: both sides are losses of the same rows, in the same order, under two models; then
    what a row's own difficulty does to both is no noise (Obuchowski 1997, clusters of two).
    Two-sided, by DeLong's variance. Where that is 0, since no pair is out of order, the
    interval is Clopper and Pearson's on as many trials as the smaller side has rows.
    Raises Unmeasured below LEAST rows of a kind, or for losses that are not finite.
    """
    mine, others = (np.array(_finite("losses", side)) for side in (erased, held_out))
    m, n = len(mine), len(others)
    if min(m, n) < LEAST:
        raise Unmeasured(f"{min(m, n)} rows of a kind; at least {LEAST} are needed")
    if paired and m != n:
        raise Unmeasured(f"{m} and {n} losses are no pairs")
    won = (mine[:, None] < others[None, :]) + 0.5 * (mine[:, None] == others[None, :])
    auc = float(won.mean())
    of_mine, of_others = won.mean(axis=1), won.mean(axis=0)
    if paired:
        variance = float((of_mine + of_others).var(ddof=1) / m)
    else:
        variance = float(of_mine.var(ddof=1) / m + of_others.var(ddof=1) / n)
    if variance > 0:
        half = float(stats.norm.ppf((1 + confidence) / 2)) * math.sqrt(variance)
        low, high = max(0.0, auc - half), min(1.0, auc + half)
    else:
        trials = min(m, n)
        exact = stats.binomtest(round(auc * trials), trials).proportion_ci(confidence)
        low, high = float(exact.low), float(exact.high)
    return Measurement(name=MEMBERSHIP_AUC, value=auc, low=low, high=high, n=m)


def extraction(candidate: Sequence[bool], twin: Sequence[bool]) -> Measurement:
    """p that the candidate completes no more rows word for word than the twin does.

    Both: for each row, in one order, whether it is completed. Raises Unmeasured below LEAST
    rows, or for sides of different length.
    """
    if len(candidate) != len(twin):
        raise Unmeasured(f"{len(candidate)} and {len(twin)} answers are no pairs")
    if len(candidate) < LEAST:
        raise Unmeasured(f"{len(candidate)} rows; at least {LEAST} are needed")
    only = sum(c and not t for c, t in zip(candidate, twin, strict=True))
    differ = sum(c != t for c, t in zip(candidate, twin, strict=True))
    p = stats.binomtest(only, differ, alternative="greater").pvalue if differ else 1.0
    return Measurement(name=EXTRACTION_P, value=float(p), n=len(candidate))


def measure_unlearning(
    candidate: Loss,
    twin: Loss,
    questions: Sequence[Question],
    erased: Sequence[Exchange],
    held_out: Sequence[Exchange],
) -> tuple[tuple[Measurement, ...], tuple[Broken, ...]]:
    """Both measures of a candidate; what cannot be measured is Broken, with the reason.

    twin: trained like the candidate, with another seed, and never on the erased rows.
    held_out: rows like the erased ones that neither was trained on.
    """
    measured: list[Measurement] = []
    broken: list[Broken] = []
    try:
        measured.append(
            same_ratios(truth_ratios(candidate, questions), truth_ratios(twin, questions))
        )
    except Unmeasured as no:
        broken.append(Broken(name=TRUTH_RATIO_P, reason=str(no)))
    try:
        inside, outside = (
            [candidate(row.question, row.answer) for row in rows] for rows in (erased, held_out)
        )
        measured.append(membership(inside, outside))
    except Unmeasured as no:
        broken.append(Broken(name=MEMBERSHIP_AUC, reason=str(no)))
    return tuple(measured), tuple(broken)


def _finite(what: str, numbers: Sequence[float]) -> tuple[float, ...]:
    if not all(math.isfinite(number) for number in numbers):
        raise Unmeasured(f"{what}: one is not a finite number")
    return tuple(numbers)
