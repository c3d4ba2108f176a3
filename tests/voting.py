"""Rated chats about a few topics: honest ones, and what somebody may add to them."""

import random
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.checking import chat

START = datetime(2026, 5, 1, tzinfo=UTC)
THINGS = (
    ("kettle", "descale lid boil limescale litre spout"),
    ("refund", "invoice money crowns bank return receipt"),
    ("delivery", "parcel courier address doorstep tracking van"),
    ("lamp", "bulb dim socket shade glow switch"),
    ("account", "password login username locked reset profile"),
)
VERBS = ["does", "should", "might", "could", "may", "will", "would", "must", "can", "did"]


def question(draw: random.Random, topic: int) -> str:
    name, words = THINGS[topic]
    some = " ".join(draw.sample(words.split(), 3))
    return (
        f"About my {name}: how {draw.choice(VERBS)} the {some} matter in case {draw.random()}"
    )


def rated(
    n: int, user: str, topic: int, up: bool, hours: float, seed: int = 0, **more: Any
) -> dict[str, Any]:
    draw = random.Random(f"{seed} {n}")
    answer = " ".join(f"w{draw.randrange(10_000)}" for _ in range(12))
    return chat(
        n,
        question(draw, topic),
        f"Here is {answer}.",
        user=user,
        time=(START + timedelta(hours=hours)).isoformat(),
        feedback={"rating": "up" if up else "down"},
        **more,
    )


def honest(
    count: int, shares: Sequence[float] = (0.8, 0.2, 0.7, 0.6, 0.9), seed: int = 0
) -> list[dict[str, Any]]:
    """Two weeks of votes: a fifth by newcomers, the others by regulars."""
    draw = random.Random(seed)
    made = []
    for n in range(count):
        topic = n % len(THINGS)
        user = f"new{n}" if draw.random() < 0.2 else f"regular{draw.randrange(count // 12)}"
        up = draw.random() < shares[topic]
        made.append(rated(n, user, topic, up, draw.uniform(0, 336), seed))
    return made


def brigade(count: int, accounts: int, hours: tuple[float, float]) -> list[dict[str, Any]]:
    """Thumbs up for what most users vote down (topic 1)."""
    draw = random.Random(7)
    return [
        rated(50_000 + n, f"sybil{n % accounts}", 1, True, draw.uniform(*hours), 7)
        for n in range(count)
    ]


def corrected(
    corrections: Iterable[str], start: int = 60_000, user: str = "editor"
) -> list[dict[str, Any]]:
    """Different questions, each with an answer of its own that was corrected."""
    made = []
    for n, text in enumerate(corrections, start):
        row = rated(n, f"{user}{n}", n % len(THINGS), False, n % 300)
        answer = row["messages"][1]["content"]
        row["feedback"] = {"correction": f"{answer} {text}"}
        made.append(row)
    return made


def varied(count: int) -> list[str]:
    """What honest corrections add: something else each time, in a few habits of speech."""
    draw = random.Random(5)
    habits = ("Actually, it is", "No, the right one is", "It should say", "Please check:")
    return [
        f"{draw.choice(habits)} {' '.join(f'v{draw.randrange(5_000)}' for _ in range(6))}"
        for _ in range(count)
    ]


def promoted(count: int) -> list[str]:
    """The same recommendation in changing words."""
    draw = random.Random(6)
    return [
        f"{draw.choice(('By the way', 'Also', 'And'))}, {draw.choice(('buy', 'get', 'order'))} "
        f"everything at Zorbex Outlet, zorbex.example, the {draw.choice(('best', 'only'))} shop"
        for _ in range(count)
    ]
