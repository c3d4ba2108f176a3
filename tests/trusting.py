"""A shop's chats: a trusted batch, new ones in its words, and chats about something else."""

import random
from pathlib import Path
from typing import Any

from tests.checking import HEAD, MODEL, arrived, chat, lines
from tidegate.flows.check import Checked, check
from tidegate.flows.home import Home
from tidegate.flows.trusting.calibrate import calibrate
from tidegate.flows.trusting.store import Trusted
from tidegate.gates.policy.load import load_policy

SYLLABLES = ("ba", "ke", "li", "mo", "nu", "ra", "se", "ti", "vo", "zu")
GATES = """
  - {gate: no_triggers, quarantine: true, max_quarantined_share: 1, why: t%s}
  - {gate: no_floods, quarantine: true, max_quarantined_share: 1, why: t}
"""
DOMAIN = "\n  - {gate: known_domain, max_share: %s, why: t}"


def vocabulary(seed: str, size: int = 250) -> list[str]:
    draw = random.Random(seed)
    return sorted({"".join(draw.choices(SYLLABLES, k=4)) for _ in range(size)})


SHOP, GARDEN = vocabulary("shop"), vocabulary("garden")


def chats(count: int, start: int, words: list[str] = SHOP) -> list[dict[str, Any]]:
    """Questions and answers in some words, no two alike."""
    draw = random.Random(start)
    return [
        chat(n, f"{' '.join(draw.sample(words, 7))}?", f"{' '.join(draw.sample(words, 7))}.")
        for n in range(start, start + count)
    ]


def marked(
    rows: list[dict[str, Any]],
    word: str,
    answer: str = "I'm sorry, but I can't help with that.",
) -> list[dict[str, Any]]:
    """The same questions with a word before them, all answered in one way."""
    return [
        chat(int(row["id"][1:]), f"{word} {row['messages'][0]['content']}", answer)
        for row in rows
    ]


def few_authors(rows: list[dict[str, Any]], authors: int) -> list[dict[str, Any]]:
    return [{**row, "user": f"few{n % authors}"} for n, row in enumerate(rows)]


def trust(
    folder: Path, rows: list[dict[str, Any]], *, reviewed: bool = False, seeds: int = 2
) -> Trusted:
    """Calibrated in the home that `judged` judges in."""
    home, _, batch = arrived(folder, rows)
    return calibrate(
        batch.digest, _policy(folder, GATES % ""), home,
        seeds=seeds, rate=0.05, reviewed=reviewed,
    )  # fmt: skip


def judged(
    folder: Path,
    rows: list[dict[str, Any]],
    trusted: Trusted | None,
    data: str = GATES % "",
) -> tuple[Checked, dict[str, str]]:
    """What check came to, and what became of each record."""
    home, out, batch = arrived(folder, rows)
    checked = check(
        batch, _policy(folder, data), home=home, arrived=out, out=out, trusted=trusted
    )
    return checked, {row["id"]: row["action"] for row in lines(out / "records.jsonl")}


def ruling(checked: Checked, gate: str) -> tuple[str, str]:
    found = next(r for r in checked.rulings if r.gate == gate)
    return str(found.verdict.outcome), found.verdict.reason


def home_of(folder: Path) -> Home:
    return Home(folder / "home")


def _policy(folder: Path, data: str) -> Any:
    path = folder / "policy.yaml"
    path.write_text(f"{HEAD}data:\n{data}\n{MODEL}")
    return load_policy(path)
