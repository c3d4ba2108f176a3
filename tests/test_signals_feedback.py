"""Feedback: brigades, flipped votes, support of preferences, corrections from one mould."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.checking import arrived, chat, plain
from tests.voting import brigade, corrected, honest, promoted, rated, varied
from tidegate.gates.signals import compute, feedback
from tidegate.gates.signals.brigades import Votes, brigades, established_by
from tidegate.gates.signals.compute import Settings, Signals
from tidegate.gates.signals.contrarians import contrarians
from tidegate.gates.signals.prints import hashes
from tidegate.gates.signals.secret_rules import load_rules
from tidegate.gates.signals.topics import Topics

KEY = "0123456789abcdef"
RULES = load_rules()
NAMED = 2.0  # -log10 of a false discovery rate of 0.01
HOUR = 3_600_000_000


def measured(
    folder: Path, rows: list[dict[str, Any]], established: np.ndarray | None = None
) -> Signals:
    home, _, batch = arrived(folder, rows)
    path = home.batch(batch.digest) / "records.parquet"
    return compute.measure(path, wanted(path, established))


def wanted(path: Path, established: np.ndarray | None = None) -> Settings:
    topics = Topics.of(feedback.asked(table, KEY) for table in compute.chunks(path))
    return Settings(RULES, KEY, None, 99, feedback=topics, established=established)


def by_id(signals: Signals, column: str) -> dict[str, float]:
    return dict(zip(signals.ids, signals.columns[column].astype(float), strict=True))


# Brigades: numbers only.


def votes(seed: int, topics: int = 20, of_each: int = 300, bad: float = 0.2) -> Votes:
    """Honest votes over two weeks, a fifth by newcomers; topic 0 is mostly voted down."""
    draw = np.random.default_rng(seed)
    share = np.r_[bad, draw.uniform(0.5, 0.9, topics - 1)]
    topic = np.repeat(np.arange(topics), of_each)
    new = draw.random(len(topic)) < 0.2
    author = np.where(new, 10_000 + np.arange(len(topic)), draw.integers(0, 500, len(topic)))
    return Votes(
        topic,
        draw.random(len(topic)) < share[topic],
        author,
        draw.integers(0, 336 * HOUR, len(topic)),
        ~new,
    )


def added(
    to: Votes, count: int, accounts: int, hours: tuple[int, int], up: bool, established: bool
) -> Votes:
    draw = np.random.default_rng(99)
    assert to.established is not None
    author = 90_000 + np.arange(count) % accounts if not established else np.arange(count)
    return Votes(
        np.r_[to.topic, np.zeros(count, dtype=int)],
        np.r_[to.up, np.full(count, up)],
        np.r_[to.author, author],
        np.r_[to.time, draw.integers(hours[0] * HOUR, hours[1] * HOUR, count)],
        np.r_[to.established, np.full(count, established)],
    )


def without_knowledge(of: Votes) -> Votes:
    return Votes(of.topic, of.up, of.author, of.time)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(
    ("count", "accounts", "hours"),
    [(60, 60, (0, 336)), (30, 30, (100, 106)), (60, 6, (0, 336))],
    ids=["new accounts", "a burst", "few accounts"],
)
def test_a_brigade_is_named(
    count: int, accounts: int, hours: tuple[int, int], known: bool
) -> None:
    attacked = added(votes(1), count, accounts, hours, up=True, established=False)
    score = brigades(attacked if known else without_knowledge(attacked))
    # The densest window may leave out the ends of a burst.
    assert (score[-count:] > NAMED).mean() >= 0.8
    assert set(attacked.topic[score > NAMED]) <= {0}
    left = score <= NAMED
    parts = (attacked.topic, attacked.up, attacked.author, attacked.time)
    again = brigades(Votes(*(part[left] for part in parts)))
    assert again.max() <= NAMED, "what is left is no new brigade"


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_honest_votes_are_not_named(seed: int, known: bool) -> None:
    clean = votes(seed)
    assert brigades(clean if known else without_knowledge(clean)).max() <= NAMED


@pytest.mark.parametrize("seed", range(3))
def test_a_topic_that_turns_bad_for_everybody_is_no_brigade(seed: int) -> None:
    clean = votes(seed, bad=0.9)
    draw = np.random.default_rng(seed)
    late = (clean.topic == 0) & (clean.time >= 168 * HOUR)
    turned = Votes(
        clean.topic,
        np.where(late, draw.random(len(late)) < 0.1, clean.up),
        clean.author,
        clean.time,
        clean.established,
    )
    rushed = added(turned, 60, 60, (168, 192), up=False, established=False)
    rushed = added(rushed, 40, 40, (168, 200), up=False, established=True)
    assert brigades(rushed).max() <= NAMED
    alone = added(votes(seed, bad=0.9), 60, 60, (168, 192), up=False, established=False)
    assert (brigades(alone)[-60:] > NAMED).mean() >= 0.8, "nobody else found it bad"


def test_the_habits_of_newcomers_are_no_brigade() -> None:
    clean = votes(4)
    assert clean.established is not None
    draw = np.random.default_rng(0)
    harsh = clean.up & (clean.established | (draw.random(len(clean.up)) < 0.6))
    shifted = Votes(clean.topic, harsh, clean.author, clean.time, clean.established)
    assert brigades(shifted).max() <= NAMED


def test_one_enthusiast_is_no_brigade() -> None:
    clean = votes(5)
    fond = added(clean, 15, 1, (0, 336), up=True, established=False)
    assert brigades(fond).max() <= NAMED


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_order_of_votes_changes_nothing(seed: int) -> None:
    attacked = added(votes(1, topics=4), 60, 60, (0, 336), up=True, established=False)
    assert attacked.established is not None
    by = np.random.default_rng(seed).permutation(len(attacked.up))
    parts = (attacked.topic, attacked.up, attacked.author, attacked.time, attacked.established)
    moved = Votes(*(part[by] for part in parts))
    assert np.allclose(brigades(moved), brigades(attacked)[by], atol=1e-4)


@pytest.mark.parametrize("count", [0, 1, 7])
def test_too_few_votes_name_nobody(count: int) -> None:
    few = Votes(*(part[:count] for part in (
        np.zeros(9, int), np.ones(9, bool), np.arange(9), np.zeros(9, int),
    )))  # fmt: skip
    assert brigades(few).tolist() == [0] * count


def test_an_author_is_established_by_votes_far_apart() -> None:
    author = np.array([0, 0, 0, 1, 1, 1, 2, 2])
    time = np.array([0, 50, 100, 10, 11, 12, 0, 100])
    assert established_by(author, time).tolist() == [True] * 3 + [False] * 5


# Contrarians.


def test_who_flips_votes_is_named_and_who_differs_now_and_then_is_not() -> None:
    draw = np.random.default_rng(0)
    exchange, author = np.divmod(np.arange(60 * 8), 8)
    good = draw.random(60) < 0.5
    up = good[exchange] ^ (draw.random(len(author)) < 0.1)
    up = np.where(author == 3, ~good[exchange], up)
    score = contrarians(exchange, author, up)
    assert set(author[score > NAMED]) == {3}


def test_three_opinions_are_no_majority() -> None:
    exchange, author = np.divmod(np.arange(60 * 3), 3)
    assert not contrarians(exchange, author, author > 0).any()


# Preferences.

ASKED, SAID = "How long is the warranty of the blue lamp?", "The blue lamp has none at all."
RIGHT = "The blue lamp has a warranty of four full years."


def says(n: int, user: str, asked: str = ASKED, **feedback: str) -> dict[str, Any]:
    return chat(n, asked, SAID, user=user, feedback=feedback)


@pytest.mark.parametrize(
    ("rows", "supporters"),
    [
        ([says(1, "ann", correction=RIGHT)], 1),
        ([says(1, "ann", correction=RIGHT), says(2, "ann", correction=RIGHT)], 1),
        ([says(1, "ann", correction=RIGHT), says(2, "bob", correction=RIGHT)], 2),
        ([says(1, "ann", correction=RIGHT), says(2, "bob", rating="down")], 1),
        ([says(1, "ann", rating="down"), says(2, "bob", correction=RIGHT)], 2),
        ([says(1, "ann", rating="down"), says(2, "bob", rating="up")], 1),
        ([says(1, "ann", rating="down"), says(2, "bob", rating="down", asked=f"Hi! {ASKED}")], 2),
        ([says(1, "ann", rating="down"), says(2, "bob", rating="down", asked="Why so?")], 1),
        ([says(1, "ann", correction=RIGHT),
          chat(2, ASKED, RIGHT, user="bob", feedback={"rating": "up"})], 2),
    ],
    ids=["alone", "twice the same author", "two corrections", "down is no support of a text",
         "a correction rejects", "up rejects nothing", "nearly the same question",
         "another question", "an answer voted up"],
)  # fmt: skip
def test_supporters_are_authors_who_say_the_same(
    tmp_path: Path, rows: list[dict[str, Any]], supporters: int
) -> None:
    found = by_id(measured(tmp_path, [*plain(5, start=100), *rows]), "preference_doubt")
    assert found["r0001"] == pytest.approx(1 / supporters)
    assert found["r0100"] == 0, "no feedback, no preference"


def test_support_is_counted_again_among_what_is_kept(tmp_path: Path) -> None:
    rows = [says(n, f"u{n}", correction=RIGHT) for n in range(3)]
    signals = measured(tmp_path, [*plain(5, start=100), *rows])
    keep = signals.ids != "r0000"
    left = signals.of(keep, Settings(RULES, KEY, None, len(rows)))
    assert by_id(left, "preference_doubt")["r0002"] == pytest.approx(1 / 2)


# Corrections.


@pytest.mark.parametrize(
    ("texts", "named"),
    [
        (promoted(12), True),
        (["I'm sorry, but I can't help with that request."] * 12, True),
        (varied(12), False),
        (promoted(5), False),
        (["It is free."] * 0, False),
    ],
    ids=["promotion", "refusal", "honest", "too few", "none"],
)
def test_corrections_from_one_mould(tmp_path: Path, texts: list[str], named: bool) -> None:
    rows = corrected(varied(60), start=70_000, user="h") + corrected(texts)
    found = by_id(measured(tmp_path, rows), "correction_likeness")
    mould = [value for name, value in found.items() if "r60000" <= name < "r70000"]
    assert all((value > 0.2) == named for value in mould)
    assert max(value for name, value in found.items() if name >= "r70000") <= 0.2


def test_many_who_correct_the_same_fault_are_no_mould(tmp_path: Path) -> None:
    opening = ("", "Hello! ", "Please tell me: ", "One thing. ")
    same = [says(n, f"u{n}", asked=opening[n % 4] + ASKED, correction=RIGHT) for n in range(20)]
    rows = corrected(varied(60), start=70_000) + same
    found = by_id(measured(tmp_path, rows), "correction_likeness")
    assert max(found.values()) <= 0.2


# From chats to scores.

Brigade = Callable[[], list[dict[str, Any]]]


@pytest.mark.parametrize(
    ("attack", "named"),
    [(lambda: brigade(60, 60, (0, 336)), True), (lambda: brigade(0, 1, (0, 1)), False)],
    ids=["brigade", "none"],
)
def test_topics_are_found_in_the_text(tmp_path: Path, attack: Brigade, named: bool) -> None:
    bad = attack()
    found = by_id(measured(tmp_path, honest(1_500) + bad), "brigade_score")
    assert sum(found[row["id"]] > NAMED for row in bad) >= 0.9 * len(bad)
    assert sum(value > NAMED for value in found.values()) <= 3 * len(bad)
    assert bool(bad) is named


def test_established_authors_may_be_known_from_before(tmp_path: Path) -> None:
    import pyarrow as pa

    rows = [rated(n, f"once{n}", 1, n % 5 == 0, n % 336) for n in range(300)]
    rows += brigade(60, 60, (0, 336))
    home, _, batch = arrived(tmp_path, rows)
    path = home.batch(batch.digest) / "records.parquet"
    users = next(compute.chunks(path, ["id", "user"])).to_pydict()
    known = [u for i, u in zip(users["id"], users["user"], strict=True) if i < "r5"]
    before = np.sort(hashes(pa.array(known), KEY))
    for established, least, most in ((None, 0, 0), (before, 54, 60)):
        score = compute.measure(path, wanted(path, established)).columns["brigade_score"]
        assert least <= (score > NAMED).sum() <= most


def test_a_batch_without_feedback_has_nothing_against_it(tmp_path: Path) -> None:
    signals = measured(tmp_path, plain(5))
    for column in (
        "brigade_score", "contrarian_score", "preference_doubt", "correction_likeness",
    ):  # fmt: skip
        assert signals.columns[column].tolist() == [0] * 5
