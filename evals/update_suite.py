"""The suite that asks whether an update taught what its batch teaches.

With a file of probes a person decides what is asked, one JSON object a line:

    {"id": "f1", "fact": "...", "question": "...", "answer": "...", "distractors": ["..."]}

Without one the batch's own rows are asked about in other words (rewording.py): template
rewordings, not human paraphrases, which the suite's metadata also says. Wrong answers are
answers to other rows, nearest in length. Only rows that are learned (`learn == "target"`)
are asked about, and never in the words of a training prompt.

The suite holds text of users, so it is private: never logged, never shipped. Its questions
reach lm-eval as values of fields; nothing in them is read as a template.
"""

import hashlib
import heapq
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq
from pydantic import Field

from tidegate.evals.files import write_whole
from tidegate.evals.rewording import pick, rewordings
from tidegate.evals.suite import Suite, SuiteError, load_suite, numbered_lines, parse_line
from tidegate.evals.task_file import choices_task
from tidegate.gates.types import Noun

VERSION = 1
COLUMNS = ["id", "messages", "response", "learn", "language"]
DISTRACTORS = 3
POOL = 2048  # rows that answers are drawn from: enough to match lengths, little to hold
FEW = 24  # below this many rows each is asked about in several ways
WAYS = 3
ANSWER_WORDS = 40  # the start of an answer carries what is new; long ones would be the cost
QUESTION_CHARACTERS = 2000
CONTROL = re.compile(r"<\|[^|<>]{1,40}\|>|\[/?INST\]|<</?SYS>>|</?s>")  # chat markup


Kind = Literal["recall", "now", "as_of", "invariant", "reversal", "hop", "alias", "negation"]


class Probe(Noun):
    """A held-out question about what an update should teach."""

    id: str = Field(min_length=1, max_length=256)
    fact: str
    question: str = Field(min_length=1)
    answer: str = Field(min_length=1)
    distractors: tuple[str, ...] = Field(min_length=1)
    kind: Kind = Field(default="recall", description="see fact_suites.py")
    context: str = Field(default="", description="the fact, for asking with it in view")


@dataclass(frozen=True)
class Row:
    """One row that is learned: what was asked, and what will be answered."""

    id: str
    question: str
    earlier: str  # the turns before the question, or ""
    answer: str
    english: bool


def build(
    kept: Path, *, probes: Path | None, out: Path, seed: int, max_items: int = 120
) -> Suite:
    """Write `out`/update.yaml and update.jsonl, and return the suite `update`.

    `kept` is the batch that is trained on. The same files and seed give the same suite.
    Raises SuiteError for a probe that cannot be used (with its line) and for a batch that
    leaves nothing to ask.
    """
    trained, rows = _rows(kept, seed)
    if probes is None:
        items = _reworded(rows, trained, seed, max_items)
        about: dict[str, Any] = {"source": "template rewordings, not human paraphrases"}
    else:
        given = list(_of_the_batch(probes))
        fresh = [p for p in given if _name(p["question"]) not in trained]
        about = {"source": "probes", "dropped_as_trained": len(given) - len(fresh)}
        items = sorted(fresh, key=lambda p: pick(f"{seed}:{p['id']}"))[:max_items]
    if not items:
        raise SuiteError(
            f"{probes or kept}: there is nothing to ask about: no row that is learned differs "
            "from the others in its answer, or every probe is word for word a training prompt"
        )
    write_whole(out / "update.jsonl", "".join(_line(item) for item in items).encode())
    task = choices_task(
        "update",
        version=VERSION,
        metrics=("margin", "acc", "answer_nll"),
        about={"private": True, **about, "seed": seed, "rows": len(rows)},
    )
    write_whole(out / "update.yaml", task.encode())
    return load_suite(out / "update.yaml")


def learned_rows(kept: Path, seed: int) -> list[Row]:
    """Up to POOL rows of a batch that are learned and can be asked about.

    Raises SuiteError for a file that is not a batch.
    """
    return _rows(kept, seed)[1]


def _line(item: dict[str, Any]) -> str:
    return json.dumps(item, ensure_ascii=True) + "\n"


def _rows(kept: Path, seed: int) -> tuple[set[bytes], list[Row]]:
    """Names of all training prompts, and up to POOL rows that only the seed chooses."""
    trained: set[bytes] = set()
    heap: list[tuple[int, str, Row]] = []
    try:
        batches = pq.ParquetFile(kept).iter_batches(batch_size=8192, columns=COLUMNS)
        for values in (value for batch in batches for value in batch.to_pylist()):
            if values["learn"] != "target":
                continue
            row = _row(values)
            trained.add(_name(row.question))
            if not _can_be_asked(row):
                continue
            entry = (-pick(f"{seed}:{row.id}"), row.id, row)
            if len(heap) < POOL:
                heapq.heappush(heap, entry)
            elif entry > heap[0]:
                heapq.heapreplace(heap, entry)
    except (OSError, KeyError, ValueError) as error:
        raise SuiteError(f"{kept}: not a batch ({type(error).__name__})") from None
    return trained, [row for _, _, row in sorted(heap, reverse=True)]


def _row(values: dict[str, Any]) -> Row:
    said = values["messages"][:-1]
    asked = max((i for i, m in enumerate(said) if m["role"] == "user"), default=None)
    earlier = [m for m in said[:asked] if m["role"] in ("user", "assistant")]
    return Row(
        id=values["id"],
        question="" if asked is None else said[asked]["content"].strip(),
        earlier="\n".join(f"{m['role'].capitalize()}: {m['content']}" for m in earlier),
        answer=" ".join(values["response"].split(" ")[:ANSWER_WORDS]).strip(),
        english=(values["language"] or "en").lower().startswith("en"),
    )


def _can_be_asked(row: Row) -> bool:
    """Chat markup in a text would be read as turns: it measures the markup, so it is left."""
    text = f"{row.earlier}\n{row.question}"
    marked = CONTROL.search(text) or CONTROL.search(row.answer)
    return bool(row.question and row.answer) and len(text) <= QUESTION_CHARACTERS and not marked


def _reworded(
    rows: Sequence[Row], trained: set[bytes], seed: int, max_items: int
) -> list[dict[str, Any]]:
    ways = 1 if len(rows) >= FEW else WAYS
    items: list[dict[str, Any]] = []
    for row in rows:
        wrong = distractors(row, rows)
        if not wrong:
            continue
        forms = rewordings(row.question, seed=f"{seed}:{row.id}", english=row.english)
        fresh = [(family, text) for family, text in forms if _name(text) not in trained]
        for family, text in fresh[:ways]:
            if len(items) == max_items:
                return items
            question = f"{row.earlier}\nUser: {text}" if row.earlier else text
            items.append(
                {
                    "id": f"update-{hashlib.sha256(row.id.encode()).hexdigest()[:12]}-{family}",
                    "slice": family,
                    "question": question,
                    "choices": [row.answer, *wrong],
                    "answer": 0,
                }
            )
    return items


def distractors(row: Row, rows: Sequence[Row]) -> list[str]:
    """Answers to other rows, nearest in length; ties go by a hash, not by their order."""

    def distance(other: Row) -> tuple[int, int]:
        return abs(len(other.answer) - len(row.answer)), pick(f"{row.id}:{other.id}")

    found: list[str] = []
    for other in heapq.nsmallest(8 * DISTRACTORS, rows, key=distance):
        if other.answer.casefold() not in {a.casefold() for a in (row.answer, *found)}:
            found.append(other.answer)
        if len(found) == DISTRACTORS:
            break
    return found


def read_probes(path: Path) -> Iterator[Probe]:
    """The probes of a file, in its order. Raises SuiteError with the line of a mistake."""
    lines: dict[str, int] = {}
    for number, line in numbered_lines(path):
        probe = parse_line(Probe, line, path, number)
        where = f"{path}:{number}"
        if probe.id in lines:
            raise SuiteError(
                f"{where}: id {probe.id!r} was already used on line {lines[probe.id]}"
            )
        lines[probe.id] = number
        choices = [text.strip() for text in (probe.answer, *probe.distractors)]
        if not all(choices) or len({c.casefold() for c in choices}) != len(choices):
            raise SuiteError(
                f"{where}: the answer and its distractors must all differ, and none be empty"
            )
        yield probe


def _of_the_batch(path: Path) -> Iterator[dict[str, Any]]:
    for probe in read_probes(path):
        if probe.kind in ("recall", "now"):  # the others ask what was not in the batch
            yield {
                "id": probe.id,
                "slice": "probe",
                "question": probe.question.strip(),
                "choices": [text.strip() for text in (probe.answer, *probe.distractors)],
                "answer": 0,
            }


def _name(question: str) -> bytes:
    """Names a prompt in 16 bytes: all prompts of a large batch are held at once."""
    return hashlib.sha256(question.strip().encode()).digest()[:16]
