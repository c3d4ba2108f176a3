"""More rows from the new ones, by fixed templates: the same answer to other words, the other side.

A fact that is said once, in one way, is learned badly; restating it helps (SEAL, Active Reading
and EntiGraph let a large model do that; arXiv 2309.12288 for the other side). Here are templates
alone: a small model cannot write restatements, and what it wrote would need gates of its own.

    record → question and answer → rewordings (paraphrase.py) and a reversal (reversal.py)
    two records → what follows from both (implication.py)

Made while training is prepared, from rows that passed the data gates, and stored nowhere: they
are in no batch and no replay, and a row that is erased leaves nothing to make them from. Each
names its row or its two rows, is learned in the steps of the first, and weighs a token as much as a new row does.

Nothing is made that is a held-out text or a question of the batch, by the words alone (names_of).
Cannot see: whether a made question is close to a held-out one in other words. Rows that are
asked in several turns are reworded in the last one, and neither reversed nor linked.
"""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tidegate.gates.digest import digest_json
from tidegate.training.implication import Implied, Said, implications
from tidegate.training.paraphrase import is_english, paraphrases
from tidegate.training.recipe import Expand, Recipe
from tidegate.training.reversal import Fact, read_fact, reverse
from tidegate.training.rows import LANGUAGE, UNTIL, Row, control_tokens, read_records, to_row
from tidegate.training.trained import TrainingError

VERSION = 1  # raise it when a change of the templates makes other rows from the same inputs
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Expanded:
    """By the id of a row, what was made from it; and how many were made, or why none was."""

    rows: dict[str, tuple[Row, ...]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Asked:
    """A row that is learned: its last question, its answer, and the fact in them if there is one."""

    record: dict[str, Any]
    question: str
    fact: Fact | None
    english: bool

    def made(self, name: str, question: str, answer: str) -> dict[str, Any]:
        """A record like it, with another question and answer."""
        *before, last, said = self.record["messages"]
        messages = [*before, {**last, "content": question}, said]
        return {
            **self.record,
            "id": f"{self.record['id']}.{name}",
            "messages": messages,
            "response": answer,
        }


def decided_by(recipe: Recipe, held_out: Sequence[str] | None) -> dict[str, Any]:
    """What decides the made rows besides the recipe and the rows. Raises TrainingError."""
    return {
        "version": VERSION,
        "held_out": digest_json(sorted(set(_given(recipe, held_out)))),
    }


def expand(
    path: Path,
    learned: Sequence[Row],
    tokenizer: Any,
    recipe: Recipe,
    held_out: Sequence[str] | None,
) -> Expanded:
    """What the recipe's section `expand` makes of the rows of a file that are learned.

    Raises TrainingError without the section or without held-out texts, and RowsError.
    """
    how = recipe.expand
    if how is None:
        raise TrainingError(f"the recipe {recipe.recipe!r} has no expand section")
    closed = names_of(_given(recipe, held_out))
    ids = {row.id for row in learned}
    rows = [_asked(record) for record in read_records(path) if record["id"] in ids]
    asked = names_of(row.question for row in rows)
    shared = _shared(rows)
    control = control_tokens(tokenizer)
    linked: dict[str, tuple[Implied, ...]] = {}
    counts = Counter(dict.fromkeys(("reworded", "reversed"), 0))
    if how.implications:
        counts["implied"] = 0
        linked = implications(_alone(rows), how.implications)
    found: dict[str, tuple[Row, ...]] = {}
    for row in rows:
        made: list[Row] = []
        second = linked.get(row.record["id"], ())
        wanted = _wanted(row, second, how, recipe.seed, closed, asked, shared, counts)
        for kind, record, of in wanted:
            if len(made) == how.most:
                counts["more than expand.most"] += 1
                continue
            tokens = to_row(record, tokenizer, recipe.max_tokens, control)
            if isinstance(tokens, str) or tokens[1]:  # a cut prompt is not the question
                counts["longer than max_tokens"] += 1
                continue
            made.append(replace(tokens[0], of=of))
            counts[kind] += 1
        if made:
            found[row.record["id"]] = tuple(made)
    return Expanded(found, counts)


def names_of(texts: Iterable[str]) -> set[bytes]:
    """Texts by their words alone, in 16 bytes; also what follows a context or earlier turns."""
    return {
        _name(part)
        for text in texts
        for part in (text, text.rpartition("\n\n")[2], text.rpartition("\nUser: ")[2])
    }


def _given(recipe: Recipe, held_out: Sequence[str] | None) -> Sequence[str]:
    if held_out is None:
        raise TrainingError(
            f"the recipe {recipe.recipe!r} expands rows: say which texts are held out, or they "
            "could be trained on"
        )
    return held_out


def _asked(record: dict[str, Any]) -> Asked:
    """Questions are empty where the last turn before the answer is no user's."""
    said = record["messages"][:-1]
    question = said[-1]["content"].strip() if said and said[-1]["role"] == "user" else ""
    alone = all(turn["role"] == "system" for turn in said[:-1])
    language = record.get(LANGUAGE)
    english = not language or is_english(language, question)
    fact = read_fact(question, record["response"]) if question and alone and english else None
    return Asked(record, question, fact, english)


def _alone(rows: Iterable[Asked]) -> Iterator[Said]:
    """Rows of one English question and its answer, with no turn before."""
    for row in rows:
        record = row.record
        if len(record["messages"]) == 2 and row.question and row.english:
            yield Said(
                record["id"], row.question, record["response"].strip(), record.get(UNTIL)
            )


def _shared(rows: Iterable[Asked]) -> set[tuple[str, str, str]]:
    """Sides of facts to which the batch itself gives more than one other side."""
    others: dict[tuple[str, str, str], set[str]] = {}
    for fact in (row.fact for row in rows if row.fact is not None):
        one, other = fact.sides
        others.setdefault(one, set()).add(other[2])
        others.setdefault(other, set()).add(one[2])
    return {side for side, found in others.items() if len(found) > 1}


def _wanted(
    row: Asked,
    linked: Sequence[Implied],
    how: Expand,
    seed: int,
    closed: set[bytes],
    asked: set[bytes],
    shared: set[tuple[str, str, str]],
    counts: Counter[str],
) -> Iterator[tuple[str, dict[str, Any], tuple[str, ...]]]:
    """Records to learn, each with its kind and the rows it is of. Counts what is not made, and why."""

    def is_free(question: str) -> bool:
        name = _name(question)
        if name in closed:
            counts["held out"] += 1
        elif name in asked:
            counts["asked in the batch"] += 1
        return name not in closed and name not in asked

    own = (row.record["id"],)
    if how.reversals:
        if row.fact is None:
            counts["not reversible"] += 1
        elif shared.intersection(row.fact.sides):
            counts["not one to one in the batch"] += 1
        else:
            question, answer = reverse(row.question, row.fact)
            if is_free(question):
                yield "reversed", row.made("reversed", question, answer), own
    if how.implications and not linked:
        counts["not linked"] += 1
    for number, one in enumerate(linked):
        if is_free(one.question):
            yield "implied", row.made(f"implied.{number}", one.question, one.answer), one.of
    if how.rewordings:
        found = paraphrases(row.question, row.record.get(LANGUAGE))
        found.sort(key=lambda text: _order(seed, row.record["id"], text))
        if not found:
            counts["not reworded"] += 1
        free = (text for text in found if is_free(text))
        for number, text in zip(range(how.rewordings), free, strict=False):
            made = row.made(f"reworded.{number}", text, row.record["response"])
            yield "reworded", made, own


def _order(seed: int, row: str, text: str) -> bytes:
    """Which templates a row gets: the same on every machine and in every run."""
    return hashlib.sha256(f"{seed}:{row}:{text}".encode()).digest()


def _name(text: str) -> bytes:
    words = _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    return hashlib.sha256(" ".join(words).encode()).digest()[:16]
