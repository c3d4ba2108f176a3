"""Empirical nulls, and how far a policy lets a limit follow them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.gates.checks.no_triggers import Triggers
from tidegate.gates.signals.nulls import null
from tidegate.gates.statistics.proportions import clopper_pearson
from tidegate.gates.tighter import loosened

VALUES = st.lists(st.floats(0, 50, width=32), min_size=2, max_size=400)


@given(VALUES, st.sampled_from((0.01, 0.05, 0.2)))
def test_a_limit_hits_as_rarely_as_it_says_and_the_next_lower_one_does_not(
    values: list[float], rate: float
) -> None:
    column = np.array(values, dtype=np.float32)
    found = null(column, rate)
    if found.limit is None:
        assert clopper_pearson(0, len(column))[1] > rate
        return
    assert found.hits == (column > found.limit).sum()
    assert found.low <= found.hits / found.records <= found.high <= rate
    lower = column[column < found.limit]
    if len(lower):
        assert clopper_pearson(int((column > lower.max()).sum()), len(column))[1] > rate


def test_a_small_batch_shows_no_limit() -> None:
    assert null(np.zeros(100, np.float32), 0.005).limit is None
    assert null(np.zeros(1000, np.float32), 0.005).limit == 0


def test_what_could_not_be_measured_is_no_null() -> None:
    with pytest.raises(ValueError, match="could not be measured"):
        null(np.array([0, np.nan], np.float32), 0.5)


@pytest.mark.parametrize(
    ("bounds", "found", "limit"),
    [
        ({}, 3.0, 10.0),  # nothing stated: nothing moves
        ({}, 90.0, 10.0),
        ({"tightest": 9.0}, 3.0, 9.0),
        ({"tightest": 9.0}, 9.5, 9.5),
        ({"tightest": 12.0}, 3.0, 10.0),  # to tighten never loosens
        ({"loosest": 15.0}, 12.0, 12.0),
        ({"loosest": 15.0}, 90.0, 15.0),  # poison in the trusted batch gets no further
        ({"loosest": 9.0}, 90.0, 10.0),
        ({"tightest": 9.0, "loosest": 15.0}, None, 10.0),  # nothing was shown
    ],
)
def test_the_policy_bounds_what_calibration_may_move(
    bounds: dict[str, float], found: float | None, limit: float
) -> None:
    assert Triggers(max_score=10.0, **bounds).calibrated(found).max_score == limit  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("parent", "child", "looser"),
    [
        ({}, {"loosest": 15.0}, True),
        ({"loosest": 15.0}, {}, False),
        ({"loosest": 15.0}, {"loosest": 12.0}, False),
        ({}, {"tightest": 9.0}, False),
        ({"tightest": 9.0}, {}, True),
        ({"trusted": "required"}, {}, True),
        ({}, {"trusted": "required"}, False),
        ({}, {"strong": 40.0}, True),
    ],
)
def test_a_child_policy_may_only_ask_for_more(
    parent: dict[str, object], child: dict[str, object], looser: bool
) -> None:
    before, after = Triggers.model_validate(parent), Triggers.model_validate(child)
    assert (loosened(before, after) is not None) is looser
