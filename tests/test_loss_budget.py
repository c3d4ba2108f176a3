"""Bets on several suites at once: against hand-made numbers, and how often they err."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from tidegate.gates.statistics.estimate import NotComparable
from tidegate.gates.statistics.loss_budget import LossBudget
from tidegate.gates.statistics.sequential import confidence_sequence

LIMIT, BOUND, SUITES, CHUNK = 0.5, 5.0, 7, 32
Draws = NDArray[np.float64]


def test_of_one_suite_it_is_the_bet_of_that_suite() -> None:
    values = [-0.3, 0.1, 0.0, 0.2, -0.1] * 12
    ours = LossBudget([values], limit=LIMIT, bound=BOUND)
    one = confidence_sequence(values, bound=BOUND)
    # One is wealth now and one the most there ever was; ours is rounded by a cell at most.
    step = LIMIT / 40
    assert (
        one.p_at_most(-LIMIT) <= ours.p_at_least(LIMIT) <= 1.05 * one.p_at_most(-LIMIT + step)
    )
    assert -one.lower(0.025) <= ours.upper(0.025) <= -one.lower(0.025) + 3 * step


def test_suites_that_lost_nothing_by_hand() -> None:
    """Each of n items at 0 turns the boldest bet by bound / (bound - u)."""
    suites = [[0.0] * 16] * SUITES
    found = LossBudget(suites, limit=LIMIT, bound=BOUND).p_at_least(LIMIT)
    boldest = (256 / 341 * (BOUND / (BOUND - LIMIT)) ** 16) ** -SUITES
    assert boldest / 2 < found < 3 * boldest


def test_a_gain_pays_for_nothing() -> None:
    lost, none, gained = [-1.2] * 40, [0.0] * 40, [4.0] * 40
    suites = [lost] * 3 + [none] * 4  # 0.514 on average
    assert LossBudget(suites, limit=LIMIT, bound=BOUND).p_at_least(LIMIT) == 1.0
    paid = [lost] * 3 + [gained] * 4
    assert LossBudget(paid, limit=LIMIT, bound=BOUND).p_at_least(LIMIT) == 1.0


def test_a_loss_beyond_the_bound_leaves_nothing_known() -> None:
    suites = [[0.0] * 100] * 6 + [[0.0] * 99 + [-BOUND - 0.01]]
    found = LossBudget(suites, limit=LIMIT, bound=BOUND)
    assert (found.p_at_least(LIMIT), found.upper(0.05)) == (1.0, math.inf)


def test_a_wide_bound_costs_no_more_and_settles_less() -> None:
    suites = [[0.0] * 200] * SUITES
    near, far = (LossBudget(suites, limit=LIMIT, bound=bound) for bound in (BOUND, 2e6 * LIMIT))
    assert near.p_at_least(LIMIT) < 1e-9 and far.p_at_least(LIMIT) > 0.5
    assert near.upper(0.05) < LIMIT and far.upper(0.05) == math.inf


@pytest.mark.parametrize(
    ("suites", "limit", "why"),
    [
        ([], 0.5, "no pairs"),
        ([[0.0], []], 0.5, "no pairs"),
        ([[0.0, math.nan]], 0.5, "not a finite number"),
        ([[0.0, math.inf]], 0.5, "not a finite number"),
        ([[0.0]], 0.0, "not between 0 and the bound"),
        ([[0.0]], 5.0, "not between 0 and the bound"),
        ([[0.0]], math.nan, "not between 0 and the bound"),
    ],
)
def test_what_cannot_be_bet_on(suites: list[list[float]], limit: float, why: str) -> None:
    with pytest.raises(NotComparable, match=why):
        LossBudget(suites, limit=limit, bound=BOUND)


def equal(random: np.random.Generator) -> list[Draws]:
    return [random.normal(-LIMIT, 1.0, 112).clip(-BOUND, BOUND) for _ in range(SUITES)]


def one_alone(random: np.random.Generator) -> list[Draws]:
    alone = random.choice([-BOUND, BOUND], p=[0.85, 0.15], size=112)  # -3.5 on average
    return [alone, *(random.normal(0, 0.5, 112) for _ in range(SUITES - 1))]


def others_gain(random: np.random.Generator) -> list[Draws]:
    alone = random.choice([-BOUND, BOUND], p=[0.85, 0.15], size=112)
    return [alone, *(random.normal(2, 0.5, 112) for _ in range(SUITES - 1))]


def rare_losses(random: np.random.Generator) -> list[Draws]:
    return [np.where(random.random(112) < 0.1, -BOUND, 0.0) for _ in range(SUITES)]


def uneven(random: np.random.Generator) -> list[Draws]:
    shares = np.arange(SUITES) / 3 * LIMIT  # from nothing to twice the limit
    return [random.normal(-share, 0.8, 112).clip(-BOUND, BOUND) for share in shares]


@pytest.mark.slow
@pytest.mark.parametrize("draw", [equal, one_alone, others_gain, rare_losses, uneven])
def test_a_forbidden_sum_passes_no_oftener_than_said(draw: object) -> None:
    """Looked at after every chunk; every population has its sum of losses on the limit."""
    assert callable(draw)
    random, runs, alpha = np.random.default_rng(5), 200, 0.05
    passed = 0
    for _ in range(runs):
        suites = draw(random)
        looks = range(CHUNK, 113, CHUNK)
        passed += any(
            LossBudget([v[:n] for v in suites], limit=LIMIT, bound=BOUND).p_at_least(LIMIT)
            <= alpha
            for n in looks
        )
    assert passed / runs <= alpha + 4 * math.sqrt(alpha * (1 - alpha) / runs)


@pytest.mark.slow
def test_a_harmless_update_is_settled_after_few_items() -> None:
    random, runs = np.random.default_rng(6), 50
    settled = 0
    for _ in range(runs):
        suites = [random.normal(-0.1, 1.0, 32) for _ in range(SUITES)]
        found = LossBudget(suites, limit=LIMIT, bound=BOUND)
        settled += found.p_at_least(LIMIT) <= 0.025
    assert settled / runs > 0.9
