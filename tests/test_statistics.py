"""Bounds against scipy's own, and their coverage by simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from tidegate.gates.statistics import (
    NotComparable,
    clopper_pearson,
    paired_mean,
    smallest_visible_loss,
)


def test_the_bounds_are_those_of_a_paired_t_test() -> None:
    random = np.random.default_rng(1)
    before, after = random.normal(size=40), random.normal(0.3, 1, size=40)
    ours = paired_mean(after - before, below=0.05, above=0.01)
    test = stats.ttest_rel(after, before)
    assert ours.lower == pytest.approx(test.confidence_interval(0.90).low)
    assert ours.upper == pytest.approx(test.confidence_interval(0.98).high)
    assert ours.n == 40


@pytest.mark.parametrize(
    "values", [[], [0.1] * 7, [0.1] * 20 + [math.nan], [0.1] * 20 + [math.inf]]
)
def test_too_few_or_broken_numbers_are_not_compared(values: list[float]) -> None:
    with pytest.raises(NotComparable):
        paired_mean(values, below=0.05, above=0.05)


@pytest.mark.parametrize("spread", ["normal", "heavy"])
def test_the_lower_bound_errs_as_often_as_it_says(spread: str) -> None:
    random = np.random.default_rng(7)
    draws = (
        random.normal(size=(4000, 60))
        if spread == "normal"
        else random.standard_t(4, size=(4000, 60))
    )
    above = np.mean([paired_mean(row, below=0.05, above=0.05).lower > 0 for row in draws])
    # Four standard errors of a 5 % rate over 4,000 draws.
    assert abs(above - 0.05) < 4 * math.sqrt(0.05 * 0.95 / 4000)


def test_the_smallest_visible_loss_is_passed_with_its_power() -> None:
    random = np.random.default_rng(3)
    margin = smallest_visible_loss(random.normal(size=100_000), alpha=0.05, power=0.8)
    margin *= math.sqrt(100_000 / 50)
    passed = [
        paired_mean(random.normal(size=50), below=0.05, above=0.05).lower > -margin
        for _ in range(2000)
    ]
    assert np.mean(passed) == pytest.approx(0.8, abs=0.04)


def test_the_exact_interval_is_the_published_one() -> None:
    # Newcombe (1998), Statistics in Medicine 17:857, table I: 81 of 263 and 0 of 20.
    assert clopper_pearson(81, 263) == pytest.approx((0.2527, 0.3676), abs=1e-4)
    assert clopper_pearson(0, 20) == pytest.approx((0.0, 0.1684), abs=1e-4)
