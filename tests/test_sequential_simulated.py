"""How often the confidence sequence errs, watched after every item, and what it saves.

Every population below has its mean on the limit, so each decision is an error. Seeds are
fixed; the tolerance is four Monte-Carlo standard errors.
"""

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from tidegate.gates.statistics.paired import paired_t
from tidegate.gates.statistics.sequential import (
    EARLY_SHARE,
    confidence_sequence,
    settled,
)

pytestmark = pytest.mark.slow

LIMIT = -0.15
BOUND = 1.5
CHUNK = 16
Draws = NDArray[np.float64]
Population = Callable[[np.random.Generator, tuple[int, int]], Draws]


def binary(random: np.random.Generator, shape: tuple[int, int]) -> Draws:
    return random.choice([-1.0, 0.0, 1.0], p=[0.20, 0.75, 0.05], size=shape)


def heavy_tailed(random: np.random.Generator, shape: tuple[int, int]) -> Draws:
    return LIMIT + np.clip(0.2 * random.standard_t(2, shape), -1.35, 1.35)


def normal(random: np.random.Generator, shape: tuple[int, int]) -> Draws:
    return random.normal(LIMIT, 0.3, shape)


def rare_gains(random: np.random.Generator, shape: tuple[int, int]) -> Draws:
    return np.where(random.random(shape) < 1 / 12, BOUND, -0.3)


def rare_losses(random: np.random.Generator, shape: tuple[int, int]) -> Draws:
    return np.where(random.random(shape) < 0.1, -BOUND, 0.0)


def skewed_gains(random: np.random.Generator, shape: tuple[int, int]) -> Draws:
    return -0.45 + BOUND * random.beta(0.5, 2, shape)


def skewed_losses(random: np.random.Generator, shape: tuple[int, int]) -> Draws:
    return -BOUND * random.beta(0.5, 4.5, shape)


def uniform(random: np.random.Generator, shape: tuple[int, int]) -> Draws:
    return random.uniform(-0.5, 0.2, shape)


ALL = (
    binary,
    heavy_tailed,
    normal,
    rare_gains,
    rare_losses,
    skewed_gains,
    skewed_losses,
    uniform,
)


def noise(rate: float, runs: int) -> float:
    return 4 * math.sqrt(rate * (1 - rate) / runs)


def bound_of(population: Population) -> float:
    return 1.0 if population is binary else BOUND


@pytest.mark.parametrize("population", ALL, ids=lambda p: p.__name__)
def test_looking_after_every_item_errs_no_more_often_than_it_says(
    population: Population,
) -> None:
    # Within the bound a p-value never rises again: the last one tells whether any look erred.
    runs, draws = 4000, population(np.random.default_rng(1), (4000, 400))
    seen = [confidence_sequence(row.tolist(), bound=bound_of(population)) for row in draws]
    for name, p in (
        ("pass", np.array([s.p_at_most(LIMIT) for s in seen])),
        ("fail", np.array([s.p_at_least(LIMIT) for s in seen])),
    ):
        for alpha in (0.1, 0.025, 0.0042):
            rate = float(np.mean(p <= alpha))
            assert rate <= alpha + noise(alpha, runs), (name, alpha, rate)


def test_the_guarantee_is_not_an_empty_one() -> None:
    # On the hardest population, half of the stated errors are really made.
    draws = rare_losses(np.random.default_rng(2), (4000, 100))
    p = [confidence_sequence(row.tolist(), bound=BOUND).p_at_most(LIMIT) for row in draws]
    assert np.mean(np.array(p) <= 0.05) > 0.02


@pytest.mark.parametrize("population", ALL, ids=lambda p: p.__name__)
def test_the_interval_holds_the_mean_at_all_looks(population: Population) -> None:
    # Bounds only ever tighten within the bound, so the last interval is inside all others.
    runs, alpha = 600, 0.05
    draws = population(np.random.default_rng(3), (runs, 200))
    seen = [confidence_sequence(row.tolist(), bound=bound_of(population)) for row in draws]
    assert np.mean([s.lower(alpha) > LIMIT for s in seen]) <= alpha + noise(alpha, runs)
    assert np.mean([s.upper(alpha) < LIMIT for s in seen]) <= alpha + noise(alpha, runs)


def test_losses_beyond_the_bound_count_for_the_bound() -> None:
    # True mean -0.4, of which the bound lets -0.15 count: still on the limit, as promised.
    runs, alpha = 1500, 0.05
    random = np.random.default_rng(4)
    draws = np.where(random.random((runs, 160)) < 0.1, -4.0, 0.0)
    passed = sum(
        any(
            confidence_sequence(row[:n].tolist(), bound=BOUND).p_at_most(LIMIT) <= alpha
            for n in range(1, 161, 3)
        )
        for row in draws
    )
    assert passed / runs <= alpha + noise(alpha, runs)


def decide(values: Draws, false_pass: float, false_block: float) -> tuple[str, int]:
    """The rule of a gate: early by the sequence, at the end by a paired t test."""
    rates = {"false_pass_rate": false_pass, "false_block_rate": false_block}
    for n in [*range(CHUNK, values.size, CHUNK), values.size]:
        seen = confidence_sequence(values[:n].tolist(), bound=BOUND)
        if settled(seen, LIMIT, **rates):
            return ("pass" if seen.lower(EARLY_SHARE * false_pass) > LIMIT else "fail"), n
    test, rest = paired_t(values.tolist()), 1 - EARLY_SHARE
    if test.p_at_most(LIMIT) <= rest * false_pass:
        return "pass", values.size
    failed = test.p_at_least(LIMIT) <= rest * false_block
    return ("fail" if failed else "inconclusive"), values.size


@pytest.mark.parametrize("size", [110, 300])
@pytest.mark.parametrize(
    "population",
    [heavy_tailed, normal, skewed_gains, skewed_losses, uniform],
    ids=lambda p: p.__name__,
)
def test_early_stopping_and_the_whole_suite_together_keep_the_rates(
    population: Population, size: int
) -> None:
    # Not rare_losses: the t test alone passes 7 % of such suites of 110 at a stated 5 %.
    runs = 1000
    draws = population(np.random.default_rng(5), (runs, size))
    said = [decide(values, 0.05, 0.05)[0] for values in draws]
    for wrong in ("pass", "fail"):
        assert said.count(wrong) / runs <= 0.05 + noise(0.05, runs)


@pytest.mark.parametrize(
    ("size", "spread", "mean", "said", "power", "share"),
    [
        (110, 0.16, 0.00, "pass", 1.00, 0.47),  # a suite this small cannot do it in 40 %
        (110, 0.16, 0.05, "pass", 1.00, 0.37),
        (110, 0.30, 0.00, "pass", 0.98, 0.55),
        (110, 0.30, -0.50, "fail", 0.98, 0.40),
        (110, 0.48, -1.00, "fail", 1.00, 0.25),
        (300, 0.30, 0.00, "pass", 1.00, 0.22),
        (300, 0.48, 0.00, "pass", 0.98, 0.38),
        (300, 0.30, -0.30, "fail", 1.00, 0.35),
        (1000, 0.48, 0.00, "pass", 1.00, 0.20),
        (1000, 0.48, -0.30, "fail", 1.00, 0.20),
    ],
)
def test_what_is_clear_is_settled_with_a_share_of_the_items(
    size: int, spread: float, mean: float, said: str, power: float, share: float
) -> None:
    draws = np.random.default_rng(6).normal(mean, spread, (200, size))
    seen = [decide(values, 0.05, 0.10 / 12) for values in draws]
    assert np.mean([word == said for word, _ in seen]) >= power
    assert np.mean([n for _, n in seen]) / size <= share
