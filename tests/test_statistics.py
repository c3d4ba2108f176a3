"""Estimates against scipy's own and published numbers; bounds and p-values agree."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from scipy import stats

from tidegate.gates.statistics.estimate import Estimate, NotComparable
from tidegate.gates.statistics.multiple import holm
from tidegate.gates.statistics.paired import heavy_tails, paired_bca, paired_t, paired_wider
from tidegate.gates.statistics.power import (
    pairs_needed,
    pairs_needed_binary,
    smallest_visible_loss,
)
from tidegate.gates.statistics.proportions import clopper_pearson, exact_binomial, tango

SKEWED = np.random.default_rng(1).exponential(size=60) - 0.9
ESTIMATES: dict[str, Estimate] = {
    "t": paired_t(SKEWED),
    "bca": paired_bca(SKEWED),
    "bca, bent": paired_bca([*[0.0] * 19, 10.0, -0.5]),
    "wider": paired_wider(SKEWED),
    "tango": tango([1] * 9 + [-1] * 3 + [0] * 20),
    "tango, all agree": tango([0] * 50),
    "tango, only worse": tango([-1] * 3 + [0] * 20),
    "binomial": exact_binomial(7, 30),
    "binomial, none": exact_binomial(0, 30),
    "binomial, all": exact_binomial(30, 30),
}


def pairs(better: int, worse: int, n: int) -> list[int]:
    return [1] * better + [-1] * worse + [0] * (n - better - worse)


# Every estimate


@pytest.mark.parametrize("name", ESTIMATES)
def test_a_bound_is_beyond_a_limit_exactly_when_the_p_value_is_small(name: str) -> None:
    seen = ESTIMATES[name]
    for limit in np.linspace(-0.99, 0.99, 67) * 1.001:
        for alpha in (0.001, 0.0083, 0.05, 0.2, 0.5, 0.8):
            assert (seen.lower(alpha) > limit) == (seen.p_at_most(limit) < alpha)
            assert (seen.upper(alpha) < limit) == (seen.p_at_least(limit) < alpha)


@pytest.mark.parametrize("name", ["t", "tango", "tango, all agree", "binomial"])
@pytest.mark.parametrize("alpha", [0.001, 0.05, 0.4])
def test_the_p_value_at_a_bound_is_its_level(name: str, alpha: float) -> None:
    seen = ESTIMATES[name]
    assert seen.p_at_most(seen.lower(alpha)) == pytest.approx(alpha)
    assert seen.p_at_least(seen.upper(alpha)) == pytest.approx(alpha)


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.4])
def test_the_p_value_at_a_bootstrap_bound_is_its_level_to_within_a_resample(
    alpha: float,
) -> None:
    seen = ESTIMATES["bca"]
    assert seen.p_at_most(seen.lower(alpha)) == pytest.approx(alpha, abs=1e-3)
    assert seen.p_at_least(seen.upper(alpha)) == pytest.approx(alpha, abs=1e-3)


@pytest.mark.parametrize("name", ESTIMATES)
def test_a_smaller_error_rate_gives_a_wider_bound(name: str) -> None:
    seen = ESTIMATES[name]
    levels = [0.001, 0.01, 0.05, 0.2, 0.5]
    lower, upper = [seen.lower(a) for a in levels], [seen.upper(a) for a in levels]
    assert lower == sorted(lower)
    assert upper == sorted(upper, reverse=True)
    assert lower[2] <= seen.mean <= upper[2]


@pytest.mark.parametrize("name", ESTIMATES)
def test_a_limit_that_is_no_number_is_never_met(name: str) -> None:
    assert not ESTIMATES[name].p_at_most(math.nan) < 0.5
    assert not ESTIMATES[name].p_at_least(math.nan) < 0.5


@pytest.mark.parametrize("name", ESTIMATES)
@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, math.nan])
def test_an_error_rate_lies_between_0_and_1(name: str, alpha: float) -> None:
    with pytest.raises(ValueError, match="strictly between 0 and 1"):
        ESTIMATES[name].lower(alpha)
    with pytest.raises(ValueError, match="strictly between 0 and 1"):
        ESTIMATES[name].upper(alpha)


@pytest.mark.parametrize("method", [paired_t, paired_bca, paired_wider, tango, heavy_tails])
@pytest.mark.parametrize(
    "values", [[], [1.0] * 7, [1.0] * 20 + [math.nan], [1.0] * 20 + [math.inf]]
)
def test_too_few_or_broken_numbers_are_not_compared(
    method: Callable[[Sequence[float]], object], values: list[float]
) -> None:
    with pytest.raises(NotComparable):
        method(values)


# Means


def test_the_bounds_are_those_of_a_paired_t_test() -> None:
    random = np.random.default_rng(1)
    before, after = random.normal(size=40), random.normal(0.3, 1, size=40)
    ours = paired_t(after - before)
    test = stats.ttest_rel(after, before)
    assert ours.lower(0.05) == pytest.approx(test.confidence_interval(0.90).low)
    assert ours.upper(0.01) == pytest.approx(test.confidence_interval(0.98).high)
    assert ours.p_at_most(0.1) == pytest.approx(
        stats.ttest_1samp(after - before, 0.1, alternative="greater").pvalue
    )
    assert ours.p_at_least(0.1) == pytest.approx(
        stats.ttest_1samp(after - before, 0.1, alternative="less").pvalue
    )
    assert (ours.n, ours.method) == (40, "paired t")


@pytest.mark.parametrize("values", [SKEWED, -SKEWED, np.round(SKEWED), SKEWED[:12]])
def test_the_bootstrap_bounds_are_those_of_scipy(values: np.ndarray) -> None:
    ours = paired_bca(values, resamples=49_999)
    for alpha in (0.05, 0.02):
        theirs = stats.bootstrap(
            (values,),
            np.mean,
            n_resamples=49_999,
            confidence_level=1 - 2 * alpha,
            method="BCa",
            rng=np.random.default_rng(2),
        ).confidence_interval
        # Two sets of resamples: a tenth of a standard error is more than luck leaves.
        luck = 0.1 * values.std() / math.sqrt(values.size)
        assert ours.lower(alpha) == pytest.approx(theirs.low, abs=luck)
        assert ours.upper(alpha) == pytest.approx(theirs.high, abs=luck)


def test_the_bootstrap_is_the_same_again_and_in_any_order() -> None:
    ours, again = paired_bca(SKEWED), paired_bca(SKEWED[::-1])
    assert ours.lower(0.05) == again.lower(0.05)
    assert ours.p_at_least(0.1) == again.p_at_least(0.1)
    assert paired_bca(SKEWED, seed=1).lower(0.05) != ours.lower(0.05)


def test_the_bootstrap_claims_no_more_than_its_resamples_can_show() -> None:
    ours = paired_bca(SKEWED, resamples=999)
    assert ours.p_at_most(-100.0) == 1 / 1000
    assert ours.p_at_least(100.0) >= 1 / 1000  # the long tail: one resample weighs more
    assert ours.p_at_most(100.0) == ours.p_at_least(-100.0) == 1.0
    assert ours.lower(1e-4) == -math.inf
    assert ours.upper(1e-4) == math.inf
    with pytest.raises(ValueError, match="998 resamples"):
        paired_bca(SKEWED, resamples=998)


@pytest.mark.parametrize("method", [paired_t, paired_bca, paired_wider])
def test_equal_differences_are_their_own_bounds(
    method: Callable[[Sequence[float]], Estimate],
) -> None:
    seen = method([0.1] * 20)  # 0.1 has no exact sum: a naive spread is not zero
    assert seen.lower(0.05) == seen.mean == seen.upper(0.01) == 0.1
    assert (seen.p_at_most(0.0), seen.p_at_most(0.1), seen.p_at_most(0.2)) == (0, 1, 1)
    assert (seen.p_at_least(0.0), seen.p_at_least(0.1), seen.p_at_least(0.2)) == (1, 1, 0)


def test_the_wider_of_both_says_what_both_say() -> None:
    t, bca, wider = ESTIMATES["t"], ESTIMATES["bca"], ESTIMATES["wider"]
    assert bca.upper(0.05) > t.upper(0.05)  # the long tail
    assert t.lower(0.05) < bca.lower(0.05)
    assert (wider.lower(0.05), wider.upper(0.05)) == (t.lower(0.05), bca.upper(0.05))
    assert wider.p_at_most(0) == t.p_at_most(0)
    assert wider.p_at_least(0.5) == bca.p_at_least(0.5)
    assert (wider.mean, wider.n) == (t.mean, 60)


@pytest.mark.parametrize(
    ("values", "heavy"),
    [
        (np.random.default_rng(5).normal(size=110), False),
        (np.random.default_rng(5).uniform(size=110), False),
        ([0.0] * 99 + [1.0] * 5 + [-1.0] * 6, False),  # a tenth discordant
        ([0.2] * 50, False),
        ([0.0] * 109 + [-1.0], True),  # one item decides everything
        ([*np.random.default_rng(5).normal(size=109), 15.0], True),
        (np.random.default_rng(5).standard_cauchy(size=110), True),
    ],
)
def test_heavy_tails_are_named(values: Sequence[float], heavy: bool) -> None:
    assert heavy_tails(values) is heavy


# Proportions


@pytest.mark.parametrize(
    ("better", "worse", "n", "alpha", "low", "high"),
    [
        # Tango (1998), 6.1, contact lenses, and 6.2, sleeping difficulties.
        (0, 1, 44, 0.05, -0.096, None),
        (9, 3, 32, 0.025, -0.027, 0.390),
        # Cavo et al. (2012), as in Fagerland, Lydersen & Laake, "Statistical Analysis of
        # Contingency Tables" (2017), chapter 8, and its R package contingencytables.
        (6, 16, 161, 0.025, -0.1240, -0.0054),
        # No discordant pair: z^2 / (n + z^2), by setting better = worse = 0 in T(d).
        (0, 0, 100, 0.05, -0.0263427, 0.0263427),
    ],
)
def test_the_score_interval_is_the_published_one(
    better: int, worse: int, n: int, alpha: float, low: float, high: float | None
) -> None:
    seen = tango(pairs(better, worse, n))
    digits = 5e-5 if n > 50 else 5e-4
    assert seen.lower(alpha) == pytest.approx(low, abs=digits)
    if high is not None:
        assert seen.upper(alpha) == pytest.approx(high, abs=digits)


def test_the_score_test_is_the_published_one() -> None:
    # Tango (1998), 6.1: Z = 1.709 against a loss of 0.1.
    published = stats.norm.sf(1.709)
    assert tango(pairs(0, 1, 44)).p_at_most(-0.1) == pytest.approx(published, abs=1e-4)


def test_the_score_test_of_no_difference_is_mcnemars() -> None:
    mcnemar = (9 - 3) / math.sqrt(9 + 3)
    assert tango(pairs(9, 3, 32)).p_at_most(0) == pytest.approx(stats.norm.sf(mcnemar))
    assert tango(pairs(0, 0, 32)).p_at_most(0) == pytest.approx(0.5)


def test_the_score_bounds_stay_within_what_is_possible() -> None:
    assert tango([-1] * 20).lower(0.05) == -1
    assert tango([1] * 20).upper(0.05) == 1
    assert -1 < tango([-1] * 20).upper(0.05) < 0 < tango([1] * 20).lower(0.05) < 1
    assert tango([-1] * 20).p_at_most(-1.01) == 0
    assert tango([1] * 20).p_at_most(1.01) == 1


def test_only_right_and_wrong_answers_have_a_score_interval() -> None:
    with pytest.raises(NotComparable, match="-1, 0 or 1"):
        tango([0.5] * 20)


@pytest.mark.parametrize(("hits", "n"), [(0, 20), (3, 20), (20, 20), (81, 263), (1, 1)])
def test_an_exact_proportion_is_that_of_scipy(hits: int, n: int) -> None:
    seen = exact_binomial(hits, n)
    for alpha in (0.05, 0.001):
        above = stats.binomtest(hits, n, alternative="greater").proportion_ci(1 - alpha)
        below = stats.binomtest(hits, n, alternative="less").proportion_ci(1 - alpha)
        assert seen.lower(alpha) == pytest.approx(above.low, abs=1e-9)
        assert seen.upper(alpha) == pytest.approx(below.high, abs=1e-9)
    for limit in (0.0, 0.1, 0.3, 1.0):
        greater = stats.binomtest(hits, n, limit, alternative="greater").pvalue
        less = stats.binomtest(hits, n, limit, alternative="less").pvalue
        assert seen.p_at_most(limit) == pytest.approx(greater, abs=1e-12)
        assert seen.p_at_least(limit) == pytest.approx(less, abs=1e-12)
    assert (seen.p_at_most(-0.1), seen.p_at_least(1.1)) == (0, 0)


@pytest.mark.parametrize(("hits", "n"), [(0, 0), (-1, 10), (11, 10)])
def test_what_is_no_proportion_is_refused(hits: int, n: int) -> None:
    with pytest.raises(NotComparable):
        exact_binomial(hits, n)


def test_the_exact_interval_is_the_published_one() -> None:
    # Newcombe (1998), Statistics in Medicine 17:857, table I: 81 of 263 and 0 of 20.
    assert clopper_pearson(81, 263) == pytest.approx((0.2527, 0.3676), abs=1e-4)
    assert clopper_pearson(0, 20) == pytest.approx((0.0, 0.1684), abs=1e-4)


# Many gates


@pytest.mark.parametrize(
    ("p_values", "alpha", "rejected"),
    [
        ([], 0.05, []),
        ([0.05], 0.05, [True]),
        # By hand: 0.005 <= 0.05/4, 0.01 <= 0.05/3, 0.03 > 0.05/2 stops, 0.04 included.
        ([0.01, 0.04, 0.03, 0.005], 0.05, [True, False, False, True]),
        ([0.02, 0.02, 0.02], 0.05, [False, False, False]),
        # The 15 p-values of Benjamini & Hochberg (1995), JRSS B 57:289, section 3.2.
        (
            [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240]
            + [0.4262, 0.5719, 0.6528, 0.7590, 1.0],
            0.05,
            [True] * 3 + [False] * 12,
        ),
    ],
)
def test_holm_steps_down(p_values: list[float], alpha: float, rejected: list[bool]) -> None:
    assert holm(p_values, alpha) == rejected


@pytest.mark.parametrize("p", [math.nan, -0.1, 1.1])
def test_a_broken_p_value_is_not_skipped(p: float) -> None:
    with pytest.raises(ValueError, match="p-value"):
        holm([0.001, p], 0.05)


# Power


@pytest.mark.parametrize(("margin", "needed"), [(0.01, 7849), (0.02, 1963), (0.05, 314)])
def test_accuracy_needs_very_many_pairs(margin: float, needed: int) -> None:
    assert pairs_needed_binary(0.1, margin, alpha=0.025, power=0.8) == needed


def test_the_power_of_a_t_test_is_the_published_one() -> None:
    # R: power.t.test(delta=0.5, power=0.8, type="one.sample", alternative="one.sided")
    # gives n = 26.13753.
    assert pairs_needed(1.0, 0.5, alpha=0.05, power=0.8) == 27


def test_the_pairs_needed_are_the_fewest_that_see_the_margin() -> None:
    few = pairs_needed(0.7, 0.1, alpha=0.05, power=0.9)
    assert smallest_visible_loss(0.7, few, alpha=0.05, power=0.9) <= 0.1
    assert smallest_visible_loss(0.7, few - 1, alpha=0.05, power=0.9) > 0.1


@pytest.mark.parametrize("sd", [math.nan, math.inf, -1.0])
def test_power_needs_a_spread(sd: float) -> None:
    with pytest.raises(NotComparable):
        smallest_visible_loss(sd, 50, alpha=0.05, power=0.8)
    with pytest.raises(NotComparable):
        pairs_needed(sd, 0.1, alpha=0.05, power=0.8)


@pytest.mark.parametrize("margin", [0.0, -0.1, math.nan])
def test_power_needs_a_margin(margin: float) -> None:
    with pytest.raises(ValueError, match="margin"):
        pairs_needed(1.0, margin, alpha=0.05, power=0.8)
    with pytest.raises(ValueError, match="margin"):
        pairs_needed_binary(0.1, margin, alpha=0.05, power=0.8)


def test_power_needs_enough_pairs_and_a_chance() -> None:
    with pytest.raises(NotComparable, match="7 pairs"):
        smallest_visible_loss(1.0, 7, alpha=0.05, power=0.8)
    with pytest.raises(ValueError, match="no better"):
        smallest_visible_loss(1.0, 50, alpha=0.05, power=0.04)
