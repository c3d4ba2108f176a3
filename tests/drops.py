"""Small drops for tests: a week of a support chat, as rows and as a file."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

FACTS = (
    ("How often should I descale the Aldermere kettle?", "Descale it every six weeks."),
    ("When does the workshop open?", "The workshop opens at ten on weekdays."),
    ("How long is the lamp's warranty?", "The lamp has a warranty of four years."),
    ("Which filter fits the Corvin jug?", "The Corvin jug takes the blue filter."),
    ("Can I return a used heater?", "A used heater can be returned within thirty days."),
    ("What does express delivery cost?", "Express delivery costs nine crowns."),
)


def row(number: int, question: str, answer: str, **changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "id": f"t-{number:05}",
        "time": f"2026-11-{2 + number % 7:02}T{number % 24:02}:00:00Z",
        "source": ("support-chat", "email", "help-widget")[number % 3],
        "user": f"cust-{number % 17:03}",
        "messages": [
            {"role": "user", "content": question},
            {"role": "assistant", "content": answer},
        ],
        "consent": True,
    }
    return {**made, **changes}


def rows(count: int = 48) -> list[dict[str, Any]]:
    """Each fact asked about again and again, never in the same words."""
    openings = ("", "Hello! ", "Please tell me: ", "One thing. ", "Good day, ", "Quick one: ")
    closings = ("", " Thanks!", " It is for my mother.", " I forgot.", " Can you look it up?")
    made = []
    for n in range(count):
        question, answer = FACTS[n % len(FACTS)]
        turn = n // len(FACTS)
        opening = openings[(turn + n) % len(openings)]
        closing = closings[(turn * 2 + n) % len(closings)]
        made.append(row(n, f"{opening}{question}{closing} ({n})", f"{answer} Ticket {n}."))
    return made


def write(path: Path, content: Iterable[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in content), encoding="utf-8")
    return path
