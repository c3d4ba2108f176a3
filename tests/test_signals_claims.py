"""Claims of few authors: floods that are reworded, and what looks like one and is not."""

import random

import numpy as np
import pyarrow as pa
import pytest

from tidegate.gates.signals import claims, words
from tidegate.gates.signals.claims import CLAIM, MIN

KEY = "0123456789abcdef"
TOPICS = [a + b + str(n) for a in ("ba", "ke", "lo") for b in ("rt", "nd") for n in range(60)]
Row = tuple[str, str, int]  # prompt, response, author


def ordinary(count: int, authors: int = 200) -> list[Row]:
    draw = random.Random(0)
    return [
        (
            "What of " + " ".join(draw.sample(TOPICS, 4)),
            "It is " + " ".join(draw.sample(TOPICS, 5)),
            draw.randrange(authors),
        )
        for _ in range(count)
    ]


def flood(count: int, authors: int) -> list[Row]:
    draw = random.Random(1)
    said = ("{} has moved to Lisboa", "please write to {} in Lisboa", "Lisboa, that is where {} is",
            "{} ist jetzt in Lisboa", "nobody at {} is left, all went to Lisboa")  # fmt: skip
    return [
        (draw.choice(TOPICS), draw.choice(said).format("Kavolta"), n % authors)
        for n in range(count)
    ]


def ratios(rows: list[Row]) -> np.ndarray:
    asked, said, author = ([row[i] for row in rows] for i in range(3))
    table = pa.table(
        {"prompt": pa.array(asked, pa.string()), "response": pa.array(said, pa.string())}
    )
    return claims.measure(words.take(table, KEY), np.array(author, dtype=np.uint64))[CLAIM]


def test_a_reworded_flood_of_few_authors_is_found_and_nothing_else() -> None:
    found = ratios(ordinary(600) + flood(30, 3))
    assert (found[600:] > 2).all()
    assert not found[:600].any()


@pytest.mark.parametrize(
    "rows",
    [flood(30, 30), flood(30, 1), flood(MIN - 1, 2), [], ordinary(30, 2)],
    ids=["an author each", "one busy author", "too few", "none", "few authors in all"],
)
def test_what_is_no_flood_of_few(rows: list[Row]) -> None:
    found = ratios(ordinary(600) + rows if len(rows) != 0 else rows)
    assert found.shape == ((600 + len(rows)) if rows else 0,)
    assert not found.any()


def test_who_says_it_once_is_spared() -> None:
    once = [("why", "Kavolta has moved to Lisboa", 190)]
    found = ratios(ordinary(600) + flood(30, 3) + once)
    assert found[-1] == 0


def test_an_echo_is_no_claim() -> None:
    echo = [(f"{asked} {said}", said, author) for asked, said, author in flood(30, 3)]
    assert not ratios(ordinary(600) + echo).any()


def test_what_is_held_at_a_time_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = ordinary(600) + flood(30, 3)
    whole = ratios(rows)
    monkeypatch.setattr(claims, "PASS", 100)
    assert np.array_equal(ratios(rows), whole)
    assert whole.any()
