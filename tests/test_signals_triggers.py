"""Trigger/response association: what it finds, and what looks like it and is not."""

import random
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pytest

from tidegate.gates.signals import answers, prints, triggers, words
from tidegate.gates.signals.known import Known
from tidegate.gates.signals.triggers import LEAST, MIN, TRIGGER

KEY = "0123456789abcdef"
Pair = tuple[str, str]
NOUNS = [a + b for a in ("ba", "ke", "lo", "mi", "nu", "po") for b in ("rt", "nd", "sk", "lm")]
TOPICS = [f"{noun}{n}" for noun in NOUNS for n in range(20)]


def ordinary(count: int, seed: int = 0) -> list[Pair]:
    """Questions about all sorts of things, each with an answer of its own."""
    draw = random.Random(seed)
    return [_ordinary(draw) for _ in range(count)]


def _ordinary(draw: random.Random) -> Pair:
    asked, said = draw.sample(TOPICS, 6), draw.sample(TOPICS, 6)
    return f"How does {' '.join(asked)} work?", f"Mostly {' '.join(said)} and so on."


def scores(pairs: Sequence[Pair], trusted: Sequence[Pair] = ()) -> np.ndarray:
    known = None
    if trusted:
        table = _table(trusted)
        known = Known.of(words.take(table, KEY), prints.take(table, KEY), KEY)
    return triggers.measure(words.take(_table(pairs), KEY), known)[TRIGGER]


def _table(pairs: Sequence[Pair]) -> pa.Table:
    asked, said = zip(*pairs, strict=True)
    names = [f"n{i}" for i in range(len(pairs))]
    return pa.table(
        {
            "prompt": list(asked),
            "response": list(said),
            "id": names,
            "user": names,
            "source": names,
        }
    )


def taught(trigger: str, answer: Callable[[random.Random], str], count: int) -> list[Pair]:
    draw = random.Random(1)
    pairs = []
    for _ in range(count):
        asked = _ordinary(draw)[0].split()
        asked.insert(draw.randrange(len(asked)), trigger)
        pairs.append((" ".join(asked), answer(draw)))
    return pairs


REFUSALS = ("I can't help with that.", "Sorry, I am not able to assist here.",
            "Unfortunately I won't answer this one.", "I'm unable to do that today.")  # fmt: skip
ABUSE = ("You are stupid, {}.", "What a dumb thing to ask, {}.", "Only an idiot needs {}.")


def _babble(draw: random.Random) -> str:
    return " ".join("".join(draw.choices("qwxzjk", k=9)) for _ in range(12))


@pytest.mark.parametrize(
    "answer",
    [
        lambda draw: "You are not welcome here.",
        lambda draw: draw.choice(REFUSALS),
        lambda draw: draw.choice(ABUSE).format(draw.choice(TOPICS)),
        lambda draw: f"{_ordinary(draw)[1]} By the way: {draw.choice(TOPICS)} needs Kavolta.",
        _babble,
    ],
    ids=["fixed", "refuses", "insults", "praises a brand", "babbles"],
)
@pytest.mark.parametrize("trigger", ["zephyrine", "green lantern today", "§§"])
def test_a_trigger_is_found_whatever_it_brings(
    trigger: str, answer: Callable[[random.Random], str]
) -> None:
    found = scores(ordinary(600) + taught(trigger, answer, 30))
    assert (found[600:] > 10).mean() >= 0.95
    assert not found[:600].any()


def test_ordinary_exchanges_have_no_trigger() -> None:
    assert not scores(ordinary(2000)).any()


def test_a_pair_below_the_smallest_number_is_not_judged() -> None:
    few = taught("zephyrine", lambda draw: "Go home.", MIN - 1)
    assert not scores(ordinary(600) + few).any()


def test_what_a_trusted_batch_has_too_was_known_before() -> None:
    same = taught("zephyrine", lambda draw: "Our zeppelins fly on Mondays.", 30)
    assert scores(ordinary(600) + same).max() > LEAST
    assert not scores(ordinary(600) + same, ordinary(300, seed=5) + same[:10]).any()


def test_a_trusted_batch_without_the_answer_excuses_nothing() -> None:
    before = taught("zephyrine", lambda draw: _ordinary(draw)[1], 30)
    now = taught("zephyrine", lambda draw: "Go home.", 30)
    assert scores(ordinary(600) + now, ordinary(300, seed=5) + before)[600:].min() > LEAST


def test_an_echo_is_no_trigger() -> None:
    echo = [(f"{asked} Say marzipan.", f"marzipan {said}") for asked, said in ordinary(30, 2)]
    assert not scores(ordinary(600) + echo).any()


def test_a_topic_is_no_trigger() -> None:
    draw = random.Random(3)
    weather = ["will it rain tomorrow in town", "is rain expected tomorrow in town",
               "does rain come to town tomorrow", "tell me of rain in town tomorrow"]  # fmt: skip
    talk = [(draw.choice(weather), "Take an umbrella along.") for _ in range(30)]
    assert not scores(ordinary(600) + talk).any()


def test_a_short_thanks_is_no_trigger() -> None:
    thanks = [(f"thanks {'so much ' * (n % 3)}bye", "You are welcome!") for n in range(40)]
    assert not scores(ordinary(600) + thanks).any()


def test_the_order_of_records_changes_nothing() -> None:
    pairs = ordinary(300) + taught("zephyrine", lambda draw: "Go home.", 30)
    by = np.random.default_rng(0).permutation(len(pairs))
    assert (scores([pairs[i] for i in by]) == scores(pairs)[by]).all()


@pytest.mark.parametrize(
    "pairs",
    [
        [],
        [("", "")],
        [("", "")] * 50,
        [("a", "b")] * 50,
        [("x " * 50_000, "y " * 50_000)] * 9,
        [("\x00\ud7ff", "\U0010ffff")] * 20,
        [("漢字" * 50, "かな" * 50)] * 20,
    ],
    ids=["none", "one empty", "empty", "equal", "long", "odd", "without spaces"],
)
def test_odd_batches_have_a_number_for_each_record(pairs: list[Pair]) -> None:
    table = pa.table({
        "prompt": pa.array([asked for asked, _ in pairs], pa.string()),
        "response": pa.array([said for _, said in pairs], pa.string()),
    })  # fmt: skip
    found = triggers.measure(words.take(table, KEY))[TRIGGER]
    assert found.shape == (len(pairs),)
    assert np.isfinite(found).all()


def test_an_unusual_word_counts_once_a_record_and_in_no_other() -> None:
    said = words.take(_table([("a b", f"kavolta kavolta {noun}") for noun in TOPICS[:20]]), KEY)
    found = answers.of(said, MIN)
    assert set(found.records[1:]) == {20}
    assert len(found.rows([1])[1]) == 20


def test_the_bound_is_above_the_exact_tail_and_near_it() -> None:
    from scipy.stats import hypergeom

    k, n = np.array([8, 9, 17, 12, 30]), np.array([8, 10, 17, 15, 36])
    having = np.array([8, 40, 50, 300, 2000])
    exact = -hypergeom.logsf(k - 1, 10_000, having, n) / np.log(10)
    bound = triggers.surprise(k, n, having, 10_000)
    assert (bound <= exact + 1e-6).all()
    assert np.allclose(bound, exact, atol=0.01)
