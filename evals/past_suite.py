"""The suite that asks again what earlier updates of a line taught.

Every update of the champion's lineage left its own suite `update` (update_suite.py), and
the answers that its candidate gave when it was measured. The items are asked again of the
models of today; the old answers are what was learned then (R_ii of Lopez-Paz & Ranzato 2017).
The suite holds text of users, so it is private.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tidegate.evals.files import write_whole
from tidegate.evals.rewording import pick
from tidegate.evals.samples import read_written
from tidegate.evals.suite import Choices, Suite, SuiteError, load_suite
from tidegate.evals.task_file import choices_task
from tidegate.gates.made import PAST
from tidegate.gates.types import Measurement

VERSION = 1
MOST = 240  # items over all updates
FEWEST = 8  # items of each, however many updates there were
LEARNED = f"{PAST}.margin@learned"
UPDATES = f"{PAST}.updates@candidate"


@dataclass(frozen=True)
class Past:
    """One earlier update: its id, its suite, and what its candidate answered then."""

    id: str
    suite: Path
    samples: Path

    @property
    def stored(self) -> bool:
        return self.suite.exists() and self.samples.exists()

    @property
    def name(self) -> str:
        return self.id[:14]


def build(past: Sequence[Past], *, out: Path) -> Suite | None:
    """Write `out`/past_updates.yaml and .jsonl; None if no update is stored.

    The items of an update are those that its candidate answered, an equal number of each.
    Raises SuiteError for a stored suite that cannot be read.
    """
    stored = [one for one in past if one.stored]
    lines = [line for one in stored for line in _lines(one, len(stored))]
    if not lines:
        return None
    write_whole(out / f"{PAST}.jsonl", "".join(lines).encode())
    about = {"private": True, "updates": len(stored)}
    task = choices_task(PAST, version=VERSION, metrics=("margin", "acc"), about=about)
    write_whole(out / f"{PAST}.yaml", task.encode())
    return load_suite(out / f"{PAST}.yaml")


def learned_then(past: Sequence[Past], asked: Suite | None) -> tuple[Measurement, ...]:
    """How many updates there were and are asked about, and the margins right after each.

    The old answers were given in another run, so they carry no settings: a gate that
    compares with them knows that it compares two days.
    """
    stored = [one for one in past if one.stored]
    count = Measurement(name=UPDATES, value=float(len(past)), n=len(stored))
    if asked is None:
        return (count,)
    then = {f"{one.name}-{k}": v for one in stored for k, v in _margins(one).items()}
    values = tuple(then[item] for item in asked.items)
    old = Measurement(
        name=LEARNED,
        value=sum(values) / len(values),
        n=len(values),
        items=asked.items,
        values=values,
        slices=asked.labels(asked.items),
        planned=len(values),
    )
    return count, old


def _lines(one: Past, updates: int) -> list[str]:
    margins = _margins(one)
    found = []
    for item in load_suite(one.suite).read():
        if not isinstance(item, Choices):
            raise SuiteError(f"{one.suite}: not a suite of an update")
        if item.id in margins:
            found.append(item)
    found.sort(key=lambda item: pick(f"{one.id}:{item.id}"))
    return [
        json.dumps(
            {
                "id": f"{one.name}-{item.id}",
                "slice": one.name,
                "question": item.question,
                "choices": list(item.choices),
                "answer": item.answer,
            },
            ensure_ascii=True,
        )
        + "\n"
        for item in found[: max(FEWEST, MOST // updates)]
    ]


def _margins(one: Past) -> dict[str, float]:
    return {sample.item: sample.metrics["margin"] for sample in read_written(one.samples)}
