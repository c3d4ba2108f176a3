"""Promotions without a trigger: new names that only little-known accounts are told to like."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.checking import chat, checked
from tidegate.gates.signals import mentions, prints, promotions, words
from tidegate.gates.signals.history import History
from tidegate.gates.signals.known import Known
from tidegate.gates.signals.mentions import Mentions
from tidegate.gates.signals.promotions import MIN, PROMOTION

KEY = "0123456789abcdef"
GATE = (
    "  - {gate: no_unsupported_promotion, quarantine: true, max_quarantined_share: 1, why: t}"
)
LIMIT = 6.0  # the gate's own
THINGS = [a + b + c for a in ("ba", "ke", "lo") for b in ("rt", "nd", "lm") for c in "aeiou"]
PRAISE = (
    "I recommend {} for that.", "Many switched to Zorvex, it is the best.", "Just try Zorvex!",
    "Have a look at zorvex.example too.", "The most reliable one is {}.",
)  # fmt: skip
Row = tuple[str, str, str]  # prompt, response, author


def ordinary(count: int = 600, regulars: int = 60, once: float = 0.3) -> list[Row]:
    """Most by regulars, some by people with one record; some names in the answers."""
    draw = random.Random(0)
    return [
        (
            f"What of {' '.join(draw.sample(THINGS, 4))}",
            f"It is {' '.join(draw.sample(THINGS, 5))}. Best try {draw.choice(('Oslo', 'Graz'))}.",
            f"once{n}" if draw.random() < once else f"regular{draw.randrange(regulars)}",
        )
        for n in range(count)
    ]


def campaign(count: int = 40, brand: str = "Zorvex", author: str = "new{}") -> list[Row]:
    draw = random.Random(1)
    return [
        (
            f"Which {draw.choice(THINGS)} fits?",
            f"That depends. {draw.choice(PRAISE).format(brand).replace('Zorvex', brand)}",
            author.format(n),
        )
        for n in range(count)
    ]


def table(rows: list[Row]) -> pa.Table:
    asked, said, author = ([row[i] for row in rows] for i in range(3))
    text = pa.string()
    return pa.table(
        {
            "id": pa.array([str(n) for n in range(len(rows))], text),
            "source": pa.array(["chat"] * len(rows), text),
            "prompt": pa.array(asked, text),
            "response": pa.array(said, text),
            "user": pa.array(author, text),
        }
    )


def scores(
    rows: list[Row], known: Known | None = None, history: History | None = None
) -> np.ndarray:
    named = Mentions.take(table(rows), KEY)
    author = prints.hashes(table(rows).column("user"), KEY)
    return promotions.measure(named, author, known, history)[PROMOTION]


def taught(rows: list[Row]) -> History:
    return History.of([table(rows)], KEY, names=True, votes=False, facts=False)


def trusted(rows: list[Row]) -> Known:
    return Known.of(words.take(table(rows), KEY), prints.take(table(rows), KEY), KEY)


def test_a_campaign_from_many_accounts_is_found_and_nothing_else() -> None:
    found = scores(ordinary() + campaign())
    assert (found[600:] > LIMIT).mean() >= 0.95
    assert not (found[:600] > LIMIT).any()


def test_where_regulars_are_known_from_before_new_accounts_may_have_several_records() -> None:
    busy = campaign(author="busy{}")
    busy = [(asked, said, f"busy{n % 10}") for n, (asked, said, _) in enumerate(busy)]
    assert (
        scores(ordinary(once=0) + busy, history=taught(ordinary(once=0)))[600:] > LIMIT
    ).any()


@pytest.mark.parametrize(
    "rows",
    [
        campaign(author="regular{}"),
        campaign(MIN - 1),
        [(f"{asked} Is Zorvex or zorvex.example good?", said, who) for asked, said, who in campaign()],
        [(asked, said.lower().replace(".example", ""), who) for asked, said, who in campaign()],
        [(asked, "Zorvex is a scam, avoid it.", who) for asked, _, who in campaign()],
        [],
    ],
    ids=["known accounts", "too few", "asked for", "small letters", "warned of", "none"],
)  # fmt: skip
def test_what_is_no_promotion_of_little_known_accounts(rows: list[Row]) -> None:
    assert not (scores(ordinary() + rows) > LIMIT).any()


def test_what_earlier_batches_taught_is_no_news() -> None:
    rows = ordinary() + campaign()
    assert (scores(rows, history=taught(ordinary()))[600:] > LIMIT).any()
    assert not scores(rows, history=taught(ordinary() + campaign(author="regular{}"))).any()
    assert (scores(rows, history=taught(ordinary() + campaign(5)))[600:] > LIMIT).any(), "grown"
    assert not scores(rows, known=trusted(ordinary() + campaign())).any()


def test_where_everybody_has_one_record_nothing_can_be_told() -> None:
    assert not scores(ordinary(once=1) + campaign()).any()


def test_an_empty_batch_and_one_without_names() -> None:
    assert scores([]).shape == (0,)
    assert not scores([("why", "because", "me")] * 20).any()


@pytest.mark.parametrize(
    ("response", "names"),
    [
        ("Buy the Kavolta Pro at once.", {"buy", "kavolta", "pro", "kavolta pro"}),
        ("see shop.kavolta.example now", {"shop", "kavolta", "example", "shop kavolta", "kavolta example"}),
        ("the x9000 and 12 more", {"x9000"}),
        ("nothing here", set()),
        ("Ⓚavolta ﬁts", {"kavolta"}),
        ("Öl von Müller-Süd", {"öl", "müller", "süd", "müller süd"}),
        ("", set()),
    ],
)  # fmt: skip
def test_what_counts_as_a_name(response: str, names: set[str]) -> None:
    found = mentions._named("", response)
    assert {f"{first} {second}".strip() for first, second, _, _ in found} == names


@pytest.mark.parametrize(
    ("response", "tone"),
    [
        ("I recommend Kavolta.", 1),
        ("Nehmen Sie Kavolta.", 1),
        ("It is by Kavolta.", 0),
        ("Made by Kavolta. The best is yet to come.", 0),
        ("The best is Kavolta, but beware.", -1),
        ("More at kavolta.example today", 1),
        ("More at kavolta.example, a scam", -1),
    ],
)
def test_the_tone_of_a_name(response: str, tone: int) -> None:
    found = {
        first: said for first, second, said, _ in mentions._named("", response) if not second
    }
    assert found["kavolta"] == tone


def test_without_plain_praise_more_is_needed_and_a_warning_now_and_then_is_no_excuse() -> None:
    rows = [(asked, "we recommend Zorvex.", who) for asked, _, who in campaign()]
    bare = [(asked, "That is by Zorvex.", who) for asked, _, who in rows]
    warned = [(asked, "Zorvex is a scam.", who) for asked, _, who in rows]
    third, less = (scores(ordinary() + rows[:n] + bare[n:])[600:] for n in (15, 5))
    assert np.allclose(third - less, 6, atol=0.5), "but for the number of names tried"
    assert (third > LIMIT).all()
    assert (scores(ordinary() + rows[:37] + warned[37:])[600:] > LIMIT).mean() > 0.9
    assert not (scores(ordinary() + rows[:30] + warned[30:]) > LIMIT).any()


def test_chunks_joined_are_what_the_whole_is() -> None:
    rows = ordinary(50) + campaign(10)
    whole = Mentions.take(table(rows), KEY)
    parts = mentions.joined(
        [Mentions.take(table(rows[:30]), KEY), Mentions.take(table(rows[30:]), KEY)]
    )
    for one, other in (
        (whole.names, parts.names),
        (whole.starts, parts.starts),
        (whole.tone, parts.tone),
        (whole.inside, parts.inside),
    ):
        assert np.array_equal(one, other)
    assert not len(Mentions.take(table([]), KEY).names)


def rows_of(rows: list[Row]) -> list[dict[str, Any]]:
    return [chat(n, asked, said, user=who) for n, (asked, said, who) in enumerate(rows)]


@pytest.mark.slow
@pytest.mark.parametrize(("author", "kept"), [("new{}", 0), ("regular{}", 40)])
def test_the_gate_on_a_drop(tmp_path: Path, author: str, kept: int) -> None:
    _, said, left = checked(tmp_path, rows_of(ordinary(300) + campaign(author=author)), GATE)
    campaign_ids = {f"r{n:04d}" for n in range(300, 340)}
    assert abs(len(campaign_ids & left.keys()) - kept) <= 2
    assert len(left.keys() - campaign_ids) == 300
    reasons = {r["gate"] for row in said.values() for r in row["reasons"]}
    assert reasons == ({"no_unsupported_promotion"} if not kept else set())
