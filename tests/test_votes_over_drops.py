"""Feedback over several drops: what is too few in each adds up, and only new votes are hits."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.checking import arrived, lines, policy
from tests.voting import honest, rated
from tidegate.flows import learned
from tidegate.flows.check import check
from tidegate.flows.checking.history import taught_before
from tidegate.flows.intake.batches import RECORDS
from tidegate.gates.signals import compute, feedback
from tidegate.gates.signals.compute import Settings
from tidegate.gates.signals.history import History
from tidegate.gates.signals.secret_rules import load_rules
from tidegate.gates.signals.topics import Topics
from tidegate.gates.signals.votes import BRIGADE as ALONE
from tidegate.gates.signals.votes_over_drops import BRIGADE, CONTRARIAN

KEY = "0123456789abcdef"
RULES = load_rules()
NAMED = 2.0  # -log10 of a false discovery rate of 0.01
FORTNIGHT = 336
GATE = "  - {gate: honest_feedback, quarantine: true, max_quarantined_share: 1, why: t}"
Row = dict[str, Any]


def drop(number: int, flipped: int = 0, seed: int = 0, account: str = "sybil{}") -> list[Row]:
    """A fortnight of honest votes by the same regulars, and a few that are flipped (topic 1)."""
    draw = random.Random(f"{seed} {number}")
    start, first = number * FORTNIGHT, 10_000 * number
    made = []
    for n in range(400):
        topic = n % 5
        user = f"new{number}.{n}" if draw.random() < 0.2 else f"regular{draw.randrange(50)}"
        up = draw.random() < (0.8, 0.2, 0.7, 0.6, 0.9)[topic]
        made.append(rated(first + n, user, topic, up, start + draw.uniform(0, FORTNIGHT), seed))
    for n in range(flipped):
        user = account.format(f"{number}.{n}")
        hour = start + draw.uniform(0, FORTNIGHT)
        made.append(rated(first + 900 + n, user, 1, True, hour, seed))
    return made


def scores(folder: Path, before: list[list[Row]], now: list[Row]) -> dict[str, np.ndarray]:
    """The scores of the last drop, by column, in the order of its rows."""
    past = []
    for number, rows in enumerate(before):
        place = folder / str(number)
        place.mkdir()
        home, _, batch = arrived(place, rows)
        past += list(compute.chunks(home.batch(batch.digest) / RECORDS))
    history = History.of(past, KEY, names=False, votes=True, facts=False) if past else None
    home, _, batch = arrived(folder, now)
    path = home.batch(batch.digest) / RECORDS
    topics = Topics.of(feedback.asked(table, KEY) for table in compute.chunks(path))
    wanted = Settings(RULES, KEY, None, 99, feedback=topics, history=history)
    found = compute.measure(path, wanted)
    places = {name: n for n, name in enumerate(found.ids)}
    order = [places[row["id"]] for row in now]
    return {name: found.columns[name][order] for name in (ALONE, BRIGADE, CONTRARIAN)}


@pytest.mark.slow
def test_a_brigade_that_sends_a_few_votes_with_every_drop_adds_up(tmp_path: Path) -> None:
    found = scores(tmp_path, [drop(n, 8) for n in range(3)], drop(3, 8))
    assert not (found[ALONE] > NAMED).any(), "in one drop it is not seen"
    assert (found[BRIGADE][400:] > NAMED).all()
    honest_ones = found[BRIGADE][:400] > NAMED
    assert honest_ones.mean() < 0.06, "newcomers of its topic at most"


@pytest.mark.parametrize("seed", range(2))
def test_honest_drops_are_not_named(tmp_path: Path, seed: int) -> None:
    found = scores(tmp_path, [drop(n, seed=seed) for n in range(2)], drop(2, seed=seed))
    assert not (found[BRIGADE] > NAMED).any()
    assert not (found[CONTRARIAN] > NAMED).any()


@pytest.mark.slow
def test_newcomers_are_not_held_liable_for_those_before_them(tmp_path: Path) -> None:
    found = scores(tmp_path, [drop(n, 20) for n in range(3)], drop(3))
    assert not (found[BRIGADE] > NAMED).any()


def test_without_a_past_nothing_is_said(tmp_path: Path) -> None:
    found = scores(tmp_path, [], drop(0, 8))
    assert not found[BRIGADE].any()
    assert not found[CONTRARIAN].any()


@pytest.mark.slow
def test_who_flips_a_vote_with_every_drop_is_named(tmp_path: Path) -> None:
    def asked(number: int) -> list[Row]:
        """Three exchanges that four regulars like, and one does not."""
        rows = drop(number)
        for n in range(12):
            exchange, voter = n % 3, n // 3
            row = rated(
                10_000 * number + 500 + n, f"regular{voter}", 0, True, FORTNIGHT * number
            )
            alike = rated(70_000 + 10 * number + exchange, "x", 0, True, 0)["messages"]
            up = voter < 3
            rows.append(
                {**row, "messages": alike, "feedback": {"rating": "up" if up else "down"}}
            )
        return rows

    before = [asked(n) for n in range(3)]
    found = scores(tmp_path, before, asked(3))
    flipped = np.array([row["user"] == "regular3" for row in asked(3)])
    assert (found[CONTRARIAN][400:][flipped[400:]] > NAMED).all()
    assert not (found[CONTRARIAN][~flipped] > NAMED).any()


@pytest.mark.slow
def test_the_gate_over_the_drops_of_a_home(tmp_path: Path) -> None:
    """What was learned counts, what was refused or came later does not, and again is alike."""
    data, taught = policy(tmp_path, GATE), 0
    for number in range(3):
        home, out, batch = arrived(tmp_path, drop(number, 8))
        before = check(batch, data, home=home, arrived=out, out=out)
        learned.remember(home, batch.digest, before.kept)
        taught += before.rows
    home, out, batch = arrived(tmp_path, drop(3, 8))
    check(batch, data, home=home, arrived=out, out=out)
    said = lines(out / "records.jsonl")
    learned.remember(home, batch.digest, out / "kept.parquet")
    _, later, newest = arrived(tmp_path, drop(4, 50))
    learned.remember(home, newest.digest, home.batch(newest.digest) / RECORDS)
    lost = {row["id"] for row in said if row["action"] == "quarantine"}
    assert {f"r{30_900 + n}" for n in range(8)} <= lost
    assert len(lost) < 32
    check(batch, data, home=home, arrived=out, out=later / "again")
    assert lines(later / "again" / "records.jsonl") == said

    source = home.batch(batch.digest) / RECORDS
    history = taught_before(
        home, batch.digest, source, KEY, names=False, votes=True, facts=False
    )
    assert history is not None
    assert history.rows == taught < 3 * 408, "what was learned before, nothing refused or later"
    assert learned.forget(home, [], [f"r{n:04d}" for n in range(0, 40, 5)]) == 8
    history = taught_before(
        home, batch.digest, source, KEY, names=False, votes=True, facts=False
    )
    assert history is not None
    assert history.rows == taught - 8, "what was erased is forgotten here, too"
    assert (
        taught_before(home, batch.digest, source, KEY, names=False, votes=False, facts=False)
        is None
    )


def test_a_home_without_promoted_batches_has_no_history(tmp_path: Path) -> None:
    home, _, batch = arrived(tmp_path, honest(30))
    source = home.batch(batch.digest) / RECORDS
    assert (
        taught_before(home, batch.digest, source, KEY, names=True, votes=True, facts=False)
        is None
    )
