"""Drift: the two statistics against known values, and drops against what was learned."""

import json
import math
import random
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from tests.drops import row, rows
from tests.test_waking import NOW, Place
from tidegate.flows.cli import app
from tidegate.flows.drifting.drift import FEWEST, Drift, drift
from tidegate.flows.drifting.sample import Row
from tidegate.flows.usage import UsageError
from tidegate.flows.waking import look, wake
from tidegate.gates.statistics.estimate import NotComparable
from tidegate.gates.statistics.stability import separation, stability_index

COUNTS = st.lists(st.integers(0, 500), min_size=2, max_size=12).filter(any)


def test_the_index_by_hand() -> None:
    found = stability_index([60, 40], [40, 60], 0.05)
    p, q = (60.5 / 101, 40.5 / 101), (40.5 / 101, 60.5 / 101)
    by_hand = sum((b - a) * math.log(b / a) for a, b in zip(p, q, strict=True))
    assert found.psi == pytest.approx(by_hand) == pytest.approx(0.1589, abs=1e-3)
    assert found.by_chance == pytest.approx(3.841 * (1 / 100 + 1 / 100), abs=1e-3)


@given(COUNTS)
def test_the_same_counts_have_no_index_and_any_others_a_positive_one(counts: list[int]) -> None:
    assert stability_index(counts, counts, 0.05).psi == pytest.approx(0, abs=1e-12)
    moved = [*counts[1:], counts[0] + 1]
    there, back = stability_index(counts, moved, 0.05), stability_index(moved, counts, 0.05)
    assert there.psi == pytest.approx(back.psi) and there.psi >= 0


@pytest.mark.parametrize(
    ("before", "now"), [([1], [1]), ([1, 2], [1, 2, 3]), ([0, 0], [1, 2]), ([1, -1], [1, 2])]
)
def test_counts_that_cannot_be_compared(before: list[int], now: list[int]) -> None:
    with pytest.raises(NotComparable):
        stability_index(before, now, 0.05)


def test_samples_of_one_population_exceed_chance_about_as_often_as_said() -> None:
    draw = np.random.default_rng(3)
    shares = [0.3, 0.2, 0.2, 0.15, 0.1, 0.05]
    over = 0
    for _ in range(2000):
        before, now = (draw.multinomial(n, shares) for n in (400, 150))
        found = stability_index(before.tolist(), now.tolist(), 0.05)
        over += found.psi > found.by_chance
    assert 0.03 < over / 2000 < 0.08


def test_separation_by_hand() -> None:
    assert separation([1, 2, 3], [2.5, 4, 5], 0.05).auc == pytest.approx(8 / 9)
    assert separation([1, 1], [1, 1], 0.05).auc == 0.5  # ties count half
    assert separation([0.0] * 20, [1.0] * 20, 0.05) == separation([1.0] * 20, [2.0] * 20, 0.05)
    with pytest.raises(NotComparable):
        separation([], [1.0], 0.05)
    with pytest.raises(NotComparable):
        separation([float("nan")], [1.0], 0.05)


def some(count: int, seed: int, words: str = "kettle lamp filter jug heater") -> list[Row]:
    draw = random.Random(seed)
    return [
        Row(
            draw.choice(["email", "chat", "chat"]),
            "en",
            " ".join(draw.choices(words.split(), k=draw.randint(4, 20))),
            " ".join(draw.choices(words.split(), k=draw.randint(4, 20))),
        )
        for _ in range(count)
    ]


LONG = [r._replace(response=r.response * 4) for r in some(200, 2)]
OTHER_SOURCE = [r._replace(source="phone") for r in some(200, 2)]
OTHER_TONGUE = [r._replace(language="fr") for r in some(200, 2)]
OTHER_WORDS = some(200, 2, "loan mortgage rate bond deposit")


@pytest.mark.parametrize(
    ("now", "what"),
    [
        (some(200, 2), []),
        (LONG, ["answer lengths"]),
        (OTHER_SOURCE, ["sources"]),
        (OTHER_TONGUE, ["languages"]),
        (OTHER_WORDS, ["words"]),
    ],
)
def test_what_moved_is_named(now: list[Row], what: list[str]) -> None:
    found = drift(some(300, 1), now)
    named = [change.what for change in found.changes if change.drifted]
    assert named == what or (what == ["answer lengths"] and set(what) <= set(named))
    assert found.drifted is bool(what)
    assert all(name in found.reason for name in what)
    assert drift(some(300, 1), now) == found


def test_too_few_rows_say_nothing() -> None:
    found = drift(some(FEWEST - 1, 1), OTHER_WORDS)
    assert not found.drifted and not found.changes and "49 rows were learned" in found.reason


@pytest.mark.parametrize(("new", "due"), [(1, True), (0, False)])
def test_drift_wakes_if_there_is_anything_to_learn(new: int, due: bool) -> None:
    found = wake(new, 60.0, rows=200, age=86_400.0, drift=drift(some(300, 1), OTHER_WORDS))
    assert found.due is due
    assert wake(1, 60.0, rows=200, age=86_400.0, drift=_still()).due is False


def _still() -> Drift:
    return drift(some(300, 1), some(200, 2))


LOANS = [
    row(
        n,
        f"What is the rate of a loan over {n} years?",
        f"A loan of {n} years costs {n} percent.",
    )
    for n in range(500, 560)
]


def test_drops_against_what_the_champion_learned(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.deliver("a", rows(60))
    place.decided(days_ago=1, act="promote")
    later = [{**r, "id": f"n{r['id']}"} for r in rows(60)]
    place.deliver("b", later)
    drops = [place.drops / "b.jsonl"]

    def asked() -> tuple[bool, str]:
        found = look(drops, place.home, "assistant", rows=200, age=7e5, now=NOW, drifting=True)
        return found.due, found.reason

    assert asked() == (
        False, "too few new rows, and not too long yet: 60 new rows of 200, last update 1.0 days ago"
    )  # fmt: skip
    place.deliver("b", LOANS)
    due, reason = asked()
    assert due and reason.startswith("drifted: ") and "words" in reason
    before = sorted(p for p in place.home.root.rglob("*"))

    command = ["drift", str(drops[0]), "--home", str(place.home.root), "--json"]
    ran = CliRunner().invoke(app, command)
    assert ran.exit_code == 2, ran.output
    said = json.loads(ran.stdout)
    assert said["drifted"] and (said["before"], said["now"]) == (60, 60)
    assert "loan" not in ran.output, "no text of users"
    assert sorted(p for p in place.home.root.rglob("*")) == before, "nothing was written"

    shutil.rmtree(place.home.root / "batches")
    with pytest.raises(UsageError, match=r"ask without --drift"):
        asked()


def test_a_line_that_learned_nothing_yet(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.deliver("a", rows(60))
    place.decided(days_ago=1)  # rejected
    found = look(
        [place.drops], place.home, "assistant", rows=200, age=7e5,
        now=datetime.now(UTC) + timedelta(days=1), drifting=True,
    )  # fmt: skip
    assert not found.due and found.drift is not None and found.drift.before == 0
