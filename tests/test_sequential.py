"""The confidence sequence against hand-computed wealth, its duals, and every refusal."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.gates.digest import item_order
from tidegate.gates.statistics.estimate import NotComparable
from tidegate.gates.statistics.sequential import (
    SHARES,
    WEIGHTS,
    ConfidenceSequence,
    confidence_sequence,
    settled,
)

FINE = [0.05, -0.05] * 30
BAD = [-0.9, -1.1] * 30
differences = st.lists(st.floats(-1, 1), min_size=1, max_size=40)


def test_the_wealth_is_that_of_five_bettors() -> None:
    # Two items of +1 against "the mean is at most 0" with a bound of 1: a bettor of share f
    # has (1 + f) ** 2 times the stake, and the stakes fall by four as the shares halve.
    stakes = {1: 256, 1 / 2: 64, 1 / 4: 16, 1 / 8: 4, 1 / 16: 1}
    wealth = sum(stake * (1 + f) ** 2 for f, stake in stakes.items()) / sum(stakes.values())
    p = confidence_sequence([1.0, 1.0], bound=1.0).p_at_most(0.0)
    assert p == pytest.approx(1 / wealth)


def test_the_stakes_are_one_whole() -> None:
    assert WEIGHTS.sum() == pytest.approx(1.0)
    assert SHARES.max() == 1.0  # more would leave a debt on an item at the bound


def test_what_was_shown_stays_shown_within_the_bound() -> None:
    before = confidence_sequence(FINE, bound=1.5).p_at_most(-0.15)
    after = confidence_sequence([*FINE, -1.0, -1.0], bound=1.5).p_at_most(-0.15)
    assert after == before


@given(differences, st.floats(0.001, 0.5))
def test_bounds_and_p_values_are_one(values: list[float], alpha: float) -> None:
    seen = confidence_sequence(values, bound=1.5)
    lower, upper = seen.lower(alpha), seen.upper(alpha)
    assert -1.5 <= lower <= max(values) and min(values) <= upper <= 1.5
    for limit in np.linspace(-1.4, 1.4, 15):
        if abs(limit - lower) > 1e-9:
            assert (seen.p_at_most(limit) < alpha) == (lower > limit)
        if abs(limit - upper) > 1e-9:
            assert (seen.p_at_least(limit) < alpha) == (upper < limit)


@given(differences)
def test_the_two_directions_mirror_each_other(values: list[float]) -> None:
    seen = confidence_sequence(values, bound=1.5)
    turned = confidence_sequence([-x for x in values], bound=1.5)
    assert seen.p_at_most(0.25) == turned.p_at_least(-0.25)
    assert seen.lower(0.05) == -turned.upper(0.05)


@given(differences, st.lists(st.floats(-1, 1), max_size=20))
def test_more_items_never_take_a_bound_back(values: list[float], more: list[float]) -> None:
    few = confidence_sequence(values, bound=1.5)
    many = confidence_sequence([*values, *more], bound=1.5)
    assert many.lower(0.05) >= few.lower(0.05)
    assert many.upper(0.05) <= few.upper(0.05)


@given(differences)
def test_a_better_item_never_makes_a_candidate_look_worse(values: list[float]) -> None:
    worse = [x - 0.1 for x in values]
    seen, seen_worse = (confidence_sequence(x, bound=1.5) for x in (values, worse))
    assert seen.p_at_most(-0.15) <= seen_worse.p_at_most(-0.15)
    assert seen.p_at_least(-0.15) >= seen_worse.p_at_least(-0.15)


def test_a_loss_beyond_the_bound_leaves_nothing_to_settle_early() -> None:
    seen = confidence_sequence([*FINE, -1.6], bound=1.5)
    assert seen.p_at_most(-0.15) == 1.0
    assert seen.lower(0.05) == -math.inf
    assert seen.upper(0.05) < 0.2  # the other direction never relied on it


def test_a_gain_beyond_the_bound_never_helps_to_fail() -> None:
    seen = confidence_sequence([*BAD, 1.6], bound=1.5)
    assert seen.p_at_least(-0.15) == 1.0
    assert seen.upper(0.05) == math.inf
    assert seen.lower(0.05) > -1.2


def test_items_at_the_bound_are_within_it() -> None:
    seen = confidence_sequence([-1.0] * 50, bound=1.0)
    assert seen.lower(0.05) == -1.0
    assert seen.p_at_most(-0.5) == 1.0
    assert seen.p_at_least(-0.5) < 1e-6


def test_no_rare_loss_can_have_hidden_when_a_candidate_passes() -> None:
    # One item in ten at the bound of ten margins makes a mean of -margin. With n items that
    # are all zero such a suite was missed with probability 0.9 ** n: p may not be smaller.
    for n in (1, 10, 50, 200):
        assert confidence_sequence([0.0] * n, bound=1.5).p_at_most(-0.15) >= 0.9**n


def test_what_it_says_of_itself() -> None:
    seen = confidence_sequence([0.1, 0.3], bound=1.0)
    assert seen.mean == pytest.approx(0.2)
    assert seen.n == 2
    assert seen.method == "betting confidence sequence"


def test_a_long_suite_does_not_overflow() -> None:
    seen = confidence_sequence([1.0] * 20_000, bound=1.0)
    assert seen.p_at_most(-0.9) == 0.0
    assert 0.99 < seen.lower(0.05) <= 1.0


@pytest.mark.parametrize(
    ("values", "bound", "said"),
    [
        ([], 1.0, "no pairs"),
        ([0.1, math.nan], 1.0, "not a finite"),
        ([0.1, math.inf], 1.0, "not a finite"),
        ([[0.1], [0.2]], 1.0, "dimensions"),
        ([0.1], 0.0, "the bound is"),
        ([0.1], -1.0, "the bound is"),
        ([0.1], math.nan, "the bound is"),
        ([0.1], math.inf, "the bound is"),
    ],
)
def test_broken_numbers_are_refused(values: list[float], bound: float, said: str) -> None:
    with pytest.raises(NotComparable, match=said):
        confidence_sequence(values, bound=bound)


@pytest.mark.parametrize("limit", [-1.0, 1.0, -3.0, math.nan])
def test_a_limit_outside_the_bound_is_refused(limit: float) -> None:
    seen = confidence_sequence(FINE, bound=1.0)
    with pytest.raises(NotComparable, match="choose a larger bound"):
        seen.p_at_most(limit)
    with pytest.raises(NotComparable, match="choose a larger bound"):
        seen.p_at_least(limit)


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, math.nan])
def test_an_error_rate_is_a_probability(alpha: float) -> None:
    seen = confidence_sequence(FINE, bound=1.0)
    for ask in (seen.lower, seen.upper):
        with pytest.raises(ValueError, match="between 0 and 1"):
            ask(alpha)


@pytest.mark.parametrize(
    ("values", "stops"),
    [
        (FINE, True),
        (BAD, True),
        (FINE[:20], False),  # too few for a loss of ten margins to have shown itself
        ([-0.15] * 60, False),  # on the limit
        ([*FINE, -1.6], False),  # the promise is broken
    ],
)
def test_measuring_stops_when_the_limit_is_settled(
    values: Sequence[float], stops: bool
) -> None:
    seen = confidence_sequence(values, bound=1.5)
    assert settled(seen, -0.15, false_pass_rate=0.05, false_block_rate=0.01) is stops


def test_early_stopping_spends_half_of_each_rate() -> None:
    for seen, p in ((of(FINE), of(FINE).p_at_most), (of(BAD), of(BAD).p_at_least)):
        rate = p(-0.15)
        args = {"false_pass_rate": 2 * rate, "false_block_rate": 2 * rate}
        assert settled(seen, -0.15, **args)
        assert not settled(seen, -0.15, **{key: 1.99 * rate for key in args})


def of(values: Sequence[float]) -> ConfidenceSequence:
    return confidence_sequence(values, bound=1.5)


def test_the_order_is_fixed_and_hangs_on_the_seed() -> None:
    items = [f"item-{n}" for n in range(200)]
    order = item_order(items, "one")
    assert order == item_order(items[::-1], "one")
    assert sorted(order) == sorted(items)
    assert order != items and order != item_order(items, "two")
    assert order[:3] == ["item-120", "item-147", "item-32"]  # the same on every machine


def test_new_items_do_not_disturb_the_order() -> None:
    items = [f"item-{n}" for n in range(100)]
    more = [*items, *(f"new-{n}" for n in range(20))]
    kept = [item for item in item_order(more, "s") if not item.startswith("new")]
    assert kept == item_order(items, "s")


def test_every_place_is_as_likely_for_every_item() -> None:
    items = [f"item-{n}" for n in range(10)]
    first = [item_order(items, str(seed))[0] for seed in range(2000)]
    counts = [first.count(item) for item in items]
    # 200 expected, sd 13.4: five of them to either side.
    assert min(counts) > 130 and max(counts) < 270
