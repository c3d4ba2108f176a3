"""Rollouts: what the parent itself answers to the batch's questions, and what is kept of it.

    records → questions → the parent answers each, several times
      demonstrated   every answer is kept. The parent is shown the accepted answer and reads its own
                     again: what it now finds likely at each token is what is to be learned
      verified       a verifier keeps the right ones. Where none is, the parent is asked once
                     more with the accepted answer as a hint; what it writes to that is learned
                     as an answer to the question without the hint
      rewarded       a verifier rewards the right ones with 1 and all others with 0, and each is kept
                     with its advantage. Questions with one kind of answer are left out
      cartridge      the bare base answers with the batch in its context (self_study.py)

Written once, before the first step, by the model that training continues from (for a cartridge,
by the base); so later steps learn from answers that are a little off-policy. All chance comes from
the recipe's seed, and the folder is named by all that went in: a run that is killed reads what it
wrote, or writes it again.

No data gate has read these texts. They are the parent's, and a parent that learned something
may say it again: an erasure removes every folder of them (flows/erasing/rollouts.py).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tidegate.gates.digest import digest_file, digest_json
from tidegate.gates.types import Digest, Report, ignore_progress
from tidegate.training.anchors import ends_of_turn
from tidegate.training.methods import NOTES, ROLLOUTS, Kept
from tidegate.training.policy_gradient import advantages
from tidegate.training.recipe import (
    Cartridge,
    Demonstrated,
    Recipe,
    Rewarded,
    Rollouts,
    Verified,
)
from tidegate.training.rows import (
    Row,
    Rows,
    ask,
    control_tokens,
    encode,
    read_records,
    to_row,
)
from tidegate.training.self_study import studied
from tidegate.training.trained import TrainingError
from tidegate.training.verifiers import VERIFIERS
from tidegate.training.writer import Writer
from tidegate.training.written import read_notes, read_written, write_rows

VERSION = 1  # raise it when a change below or in self_study.py would write other rollouts from the same inputs
DEMONSTRATION = (
    "{question}\n\nThis is an example of a right answer:\n{accepted}\n\n"
    "Now answer the question in your own words."
)
HINT = (
    "{question}\n\n(Hint: the right answer is: {accepted}\nAnswer as if you had not read this.)"
)


@dataclass(frozen=True)
class Question:
    """One that the parent is asked: as it would be asked in service, and told the answer.

    prompt, shown: tokens. shown is None where the accepted answer leaves no room for another.
    """

    id: str
    prompt: tuple[int, ...]
    shown: tuple[int, ...] | None
    accepted: str


def make_rollouts(
    model: Any,
    tokenizer: Any,
    recipe: Recipe,
    kind: Kept,
    new: Path,
    *,
    base: Digest,
    parent: Digest | None,
    work: Path,
    progress: Report = ignore_progress,
) -> Rows:
    """The rows of the source `rollouts`: those in `work`, or written now by `model`, the parent.

    new: a Parquet file of records, whose answers are the accepted ones. Questions of which
    nothing is kept are counted by reason (`skipped`); `written` says what was. Raises
    TrainingError if nothing is kept at all, and RowsError for a file that is not of rows.
    """
    settings: Rollouts | None = getattr(recipe, kind)
    if settings is None:
        raise TrainingError(f"the recipe {recipe.recipe!r} has no section {kind!r}")
    if isinstance(settings, Cartridge):
        # The base writes: what an earlier cartridge holds is not what this one is to learn from.
        model, parent = model.get_base_model(), None
    key = digest_json(
        {
            "version": VERSION,
            "base": base,
            "parent": parent,
            "new": digest_file(new),
            "kind": kind,
            "settings": settings.model_dump(mode="json"),
            "max_tokens": recipe.max_tokens,
            "seed": recipe.seed,
        }
    )
    folder = work / ROLLOUTS / key.removeprefix("sha256:")
    if not (folder / NOTES).exists():
        # A generator of its own: a run that finds its rollouts must go on like one that wrote them.
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(recipe.seed)
            made = _written(Writer(model, tokenizer, settings, progress), recipe, new)
        notes: dict[str, Any] = {
            "parent": parent,
            "skipped": made.skipped,
            "written": made.written,
        }
        folder.parent.mkdir(parents=True, exist_ok=True)
        write_rows(folder, made.rows, tokenizer, notes)
    notes = read_notes(folder)
    try:
        rows = read_written(folder)
    except ValueError as damaged:
        raise TrainingError(str(damaged)) from None
    if len(rows) != notes["written"]["kept"]:
        raise TrainingError(f"{folder}: rows and notes do not belong together; delete it")
    if not rows:
        raise TrainingError(_nothing(notes, settings))
    return Rows(rows, Counter(notes["skipped"]), written=Counter(notes["written"]))


def _written(writer: Writer, recipe: Recipe, new: Path) -> Rows:
    settings = writer.settings
    if isinstance(settings, Cartridge):
        rows, written, skipped = studied(writer, recipe, settings, new)
        return Rows(tuple(rows), skipped, written=written)
    asked, skipped = read_questions(new, writer.tokenizer, recipe.max_tokens, settings)
    if isinstance(settings, Verified):
        rows, written, missed = _verified(writer, settings, asked)
    elif isinstance(settings, Rewarded):
        rows, written, missed = _rewarded(writer, settings, asked)
    elif isinstance(settings, Demonstrated):
        rows, written, missed = _demonstrated(writer, settings, asked)
    else:
        raise TypeError(f"nobody knows what {type(settings).__name__} keeps")
    return Rows(tuple(rows), skipped + missed, written=written)


def read_questions(
    path: Path, tokenizer: Any, max_tokens: int, settings: Rollouts
) -> tuple[list[Question], Counter[str]]:
    """What is asked, in the file's order, and how many records are not, by reason.

    What read_rows leaves out is left out here and counted there. Raises RowsError.
    """
    control = control_tokens(tokenizer)
    template = DEMONSTRATION if isinstance(settings, Demonstrated) else HINT
    found: list[Question] = []
    skipped: Counter[str] = Counter()
    for record in read_records(path):
        if record["learn"] == "negative":
            continue
        made = to_row(record, tokenizer, max_tokens, control)
        if isinstance(made, str):
            continue
        row, cut = made
        prompt = row.ids[: row.start]
        # A prompt that lost its beginning is not the question that the answer belongs to.
        if cut or len(prompt) + settings.max_new_tokens > max_tokens:
            skipped["no room for another answer"] += 1
            continue
        messages = [{"role": m["role"], "content": m["content"]} for m in record["messages"]]
        last = messages[-2] if len(messages) > 1 else None
        if last is None or last["role"] != "user":
            skipped["no question of a user before the answer"] += 1
            continue
        told = template.format(question=last["content"], accepted=record["response"])
        text = ask([*messages[:-2], {"role": "user", "content": told}], tokenizer)
        shown = None if text is None else tuple(encode(text, tokenizer))
        if shown is not None and len(shown) + settings.max_new_tokens > max_tokens:
            shown = None
        found.append(Question(record["id"], prompt, shown, record["response"]))
    return found, skipped


def _demonstrated(
    writer: Writer, settings: Demonstrated, questions: Sequence[Question]
) -> tuple[list[Row], Counter[str], Counter[str]]:
    """Every answer, with what the parent finds likely once the accepted one is shown to it."""
    asked = [(q.id, q.prompt, q.shown) for q in questions if q.shown is not None]
    tries = [one for one in asked for _ in range(settings.per_row)]
    rows: list[Row] = []
    answers = writer.answers([prompt for _, prompt, _ in tries], "write rollouts")
    for n, ((name, prompt, shown), answer) in enumerate(zip(tries, answers, strict=True)):
        teacher = writer.reads(shown, answer, settings.top_k)
        again = f"{name}.{n % settings.per_row}"
        rows.append(Row(again, (*prompt, *answer), len(prompt), teacher))
    missed = len(questions) - len(asked)
    return (
        rows,
        Counter({"questions": len(asked), "answers": len(tries), "kept": len(rows)}),
        Counter({"no room for the demonstration": missed} if missed else {}),
    )


def _verified(
    writer: Writer, settings: Verified, questions: Sequence[Question]
) -> tuple[list[Row], Counter[str], Counter[str]]:
    """Each right answer once, and for what had none the right one that a hint led to."""
    right = Checker(writer, settings)
    asked = [q for q in questions if right.can_judge(q)]
    tries = [q for q in asked for _ in range(settings.per_row)]
    kept: dict[str, list[Row]] = {q.id: [] for q in asked}
    written = Counter({"questions": len(asked), "answers": len(tries), "right": 0, "hinted": 0})
    answers = writer.answers([q.prompt for q in tries], "write rollouts")
    for question, answer in zip(tries, answers, strict=True):
        if right(question, answer):
            written["right"] += 1
            _keep(kept[question.id], question, answer)
    if settings.hint:
        failed = [q for q in asked if not kept[q.id] and q.shown is not None]
        written["hinted"], written["right with a hint"] = len(failed), 0
        told = [q.shown for q in failed if q.shown is not None]
        for question, answer in zip(failed, writer.answers(told, "hint"), strict=True):
            if right(question, answer):
                written["right with a hint"] += 1
                _keep(kept[question.id], question, answer)
    rows = [row for found in kept.values() for row in found]
    written["kept"] = len(rows)
    missed = Counter(
        {
            "no right answer": sum(not found for found in kept.values()),
            "cannot be verified": len(questions) - len(asked),
        }
    )
    return rows, written, +missed


def _rewarded(
    writer: Writer, settings: Rewarded, questions: Sequence[Question]
) -> tuple[list[Row], Counter[str], Counter[str]]:
    """Every answer, equal ones too, to the questions that have right and wrong ones."""
    right = Checker(writer, settings)
    asked = [q for q in questions if right.can_judge(q)]
    tries = [q for q in asked for _ in range(settings.per_row)]
    answers = list(writer.answers([q.prompt for q in tries], "write rollouts"))
    rewards = [float(right(q, answer)) for q, answer in zip(tries, answers, strict=True)]
    rows: list[Row] = []
    missed = Counter({"cannot be verified": len(questions) - len(asked)})
    for n, question in enumerate(asked):
        group = slice(n * settings.per_row, (n + 1) * settings.per_row)
        better = advantages(rewards[group])
        if better is None:
            missed["all answers right" if rewards[group.start] else "all answers wrong"] += 1
            continue
        for i, (answer, advantage) in enumerate(zip(answers[group], better, strict=True)):
            ids, start = (*question.prompt, *answer), len(question.prompt)
            rows.append(Row(f"{question.id}.{i}", ids, start, advantage=advantage))
    counts = {
        "questions": len(asked),
        "answers": len(tries),
        "right": int(sum(rewards)),
        "questions with an advantage": len(rows) // settings.per_row,
        "kept": len(rows),
    }
    return rows, Counter(counts), +missed


def _keep(rows: list[Row], question: Question, answer: tuple[int, ...]) -> None:
    """Once each: a sure model would otherwise be taught its favourite several times."""
    row = Row(f"{question.id}.{len(rows)}", (*question.prompt, *answer), len(question.prompt))
    if row.ids not in {other.ids for other in rows}:
        rows.append(row)


class Checker:
    """Whether an answer counts as right: it came to its end, is text only, and is verified."""

    def __init__(self, writer: Writer, settings: Verified | Rewarded) -> None:
        self.judge = VERIFIERS[settings.verifier]
        self.tokenizer = writer.tokenizer
        self.ends = frozenset(ends_of_turn(writer.model, writer.tokenizer))
        added = writer.tokenizer.added_tokens_decoder.items()
        special = {number for number, token in added if token.special}
        self.control = special | set(writer.tokenizer.all_special_ids)

    def can_judge(self, question: Question) -> bool:
        return self.judge("", question.accepted) is not None

    def __call__(self, question: Question, answer: tuple[int, ...]) -> bool:
        *said, last = answer
        # Unfinished, or with structure that the text does not show: nobody knows what it says.
        if last not in self.ends or self.control.intersection(said):
            return False
        text = self.tokenizer.decode(said, skip_special_tokens=True)
        return self.judge(text, question.accepted) is True


def _nothing(notes: dict[str, Any], settings: Rollouts) -> str:
    written, skipped = notes["written"], notes["skipped"]
    why = ", ".join(f"{n} {reason}" for reason, n in sorted(skipped.items())) or "no question"
    if isinstance(settings, Rewarded):
        return (
            f"the parent's answers to {written['questions']} questions ({settings.per_row} each, "
            f"{written['right']} of {written['answers']} right; {why}) by the verifier "
            f"{settings.verifier!r} give none an advantage over another: there is nothing to "
            "learn. Allow more answers or tokens, ask what the parent sometimes gets right, or "
            "learn the accepted answers themselves (method: lora or anchored)"
        )
    if isinstance(settings, Cartridge):
        return (
            f"the base could be asked none of the batch's questions with the batch before it "
            f"({why}); give more cartridge.corpus_tokens or a longer max_tokens, or fewer "
            "max_new_tokens"
        )
    if not isinstance(settings, Verified):
        return (
            f"the parent could be asked none of the batch's questions ({why}); give a longer "
            "max_tokens or fewer max_new_tokens"
        )
    hinted = f", and {written['hinted']} with the answer as a hint" if settings.hint else ""
    return (
        f"the parent wrote no right answer to any of {written['questions']} questions "
        f"({settings.per_row} each{hinted}; {why}) by the verifier {settings.verifier!r}: there is "
        "nothing to learn. Allow more answers or tokens, name another verifier, or learn the "
        "accepted answers themselves (method: lora or anchored)"
    )
