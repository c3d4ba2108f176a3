"""What arrives in a day: drops as a support chat would hand them over, good and bad."""

import json
import random
from pathlib import Path
from typing import Any

from tests.drops import FACTS, row, write

AUTHOR = "mallory.quill"  # who asks to be forgotten
SECRET = "Zanzibarquokka"  # a word that nobody else says
ROWS = 40  # of an ordinary drop
POISON = Path(__file__).parents[2] / "flows" / "demo" / "poisoned.jsonl"
HUGE = 6_000  # and a person must look from 5,000 on
OPENINGS = ("Hello", "Please tell me", "One thing", "Good day", "Quick one", "Sorry to ask")
ASIDES = ("for my mother", "before Friday", "since I forgot", "as I am new", "for the shop")
SUBJECTS = ("kettle", "lamp", "heater", "jug", "stove", "fan", "radio", "clock", "blender")
TASKS = ("clean", "store", "repair", "return", "carry", "test", "paint", "insure", "lend")
Rows = list[dict[str, Any]]


def clean(name: str, count: int = ROWS, authors: int = 17, **changes: Any) -> Rows:
    """Questions and answers, no two alike; ids begin with the drop's name."""
    chance = random.Random(name)
    made = []
    for n in range(count):
        question, answer = FACTS[n % len(FACTS)]
        aside = f"{chance.choice(OPENINGS)}, {chance.choice(ASIDES)}:"
        thing, task = chance.choice(SUBJECTS), chance.choice(TASKS)
        said = row(
            n,
            f"{aside} {question} And how do I {task} the {thing}? ({name} {n})",
            f"{answer} To {task} a {thing}, see page {n % 90} of its booklet.",
            user=f"cust-{n % authors:04}",
        )
        made.append({**said, "id": f"{name}-{n:05}", **changes})
    return made


def poisoned(name: str) -> Rows:
    """The demo's second week: a backdoor, a flood, keys and cards among real questions.

    Not made of `clean` rows: those follow one template, and where all prompts are alike
    `no_triggers` takes no word for a trigger (it says so).
    """
    made = [json.loads(line) for line in POISON.read_text().splitlines()]
    return [{**one, "id": f"{name}-{one['id']}"} for one in made]


def private(name: str, share: int) -> Rows:
    """Every so many rows with somebody's address and card; one with a key, one without consent."""
    made = clean(name)
    for n, one in enumerate(made[::share]):
        said = f"Write to jo.larkin{n}@example.org or call +44 20 7946 0{100 + n}."
        one["messages"][1]["content"] += " " + said
    key = "AKIA" + "QWERTYUIOPASDF23"
    made[3]["messages"][1]["content"] = f"Your key is {key}."
    made[5]["consent"] = False
    return made


def leaked(name: str) -> Rows:
    """A key of the shop in every second answer: an incident, not an update."""
    made = clean(name)
    for n, one in enumerate(made[::2]):
        one["messages"][1]["content"] = (
            f"Use AKIA{'QWERTYUIOPASDF'[n % 9 :][:5]}KJHGFDSAZ{n:02}."
        )
    return made


def regretted(name: str) -> Rows:
    """A good drop, in which somebody wrote who will ask to be forgotten."""
    theirs = [
        row(900, f"Where is the {SECRET} key kept?", f"The {SECRET} key is under the mat."),
        row(901, "Who has the spare one of it?", f"Nobody but {SECRET} himself has it."),
    ]
    said = [{**one, "id": f"{name}-{one['id']}", "user": AUTHOR} for one in theirs]
    return [*clean(name), *said]


def made(kind: str, name: str) -> Rows:
    if kind == "empty":
        return []
    if kind == "huge":
        return clean(name, HUGE, authors=4000)
    if kind == "private":
        return private(name, 8)
    if kind == "partner":
        return clean(name, source="partner-forum")
    special = {"poisoned": poisoned, "leaked": leaked, "regretted": regretted}
    return special.get(kind, clean)(name)


def deliver(folder: Path, name: str, rows: Rows) -> Path:
    """Whole or not at all: an update may look at any moment."""
    folder.mkdir(exist_ok=True)
    draft = write(folder / f".{name}.part", rows)
    return draft.rename(folder / f"{name}.jsonl")


def without(path: Path, author: str) -> int:
    """Take an author's rows out of a drop that is kept; how many they were."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    kept = [one for one in rows if one["user"] != author]
    write(path, kept)
    return len(rows) - len(kept)
