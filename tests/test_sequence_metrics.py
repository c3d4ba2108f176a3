"""What a sequence of updates did: by hand on small matrices, and what always holds."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.evals.sequence.metrics import (
    NoSequence,
    accuracy,
    backward,
    forgetting,
    forward,
    learned,
)

Scores = list[list[float]]
ORIGIN = [0.1, 0.2, 0.3]
# The diagonal is what each update taught; the first is forgotten, then partly found again.
MIXED = [[0.9, 0.3, 0.3], [0.4, 0.8, 0.5], [0.5, 0.6, 0.7]]
NOTHING = [ORIGIN, ORIGIN, ORIGIN]
KEPT = [[1.0, 0.2, 0.3], [1.0, 1.0, 0.3], [1.0, 1.0, 1.0]]
LATER = [[0.5, 0.9, 0.0], [0.7, 0.6, 0.0], [0.6, 0.6, 1.0]]  # best before or after its update

# accuracy, backward, forgetting, forward, learned; each worked out by hand.
TABLE = {
    "mixed": (MIXED, 0.6, (-0.4 - 0.2) / 2, (0.4 + 0.2) / 2, (0.1 + 0.2) / 2, 1.8 / 3),
    "nothing": (NOTHING, 0.2, 0.0, 0.0, 0.0, 0.0),
    "kept": (KEPT, 1.0, 0.0, 0.0, 0.0, (0.9 + 0.8 + 0.7) / 3),
    "later": (LATER, 2.2 / 3, (0.1 + 0.0) / 2, (0.1 + 0.3) / 2, (0.7 - 0.3) / 2, 1.5 / 3),
}


@pytest.mark.parametrize("name", TABLE)
def test_by_hand(name: str) -> None:
    scores, *wanted = TABLE[name]
    found = (
        accuracy(scores),
        backward(scores),
        forgetting(scores),
        forward(scores, ORIGIN),
        learned(scores, ORIGIN),
    )
    assert found == pytest.approx(tuple(wanted))


def test_one_update_has_an_accuracy_and_was_learned() -> None:
    assert accuracy([[0.5]]) == 0.5
    assert learned([[0.5]], [0.2]) == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("metric", "scores", "reason"),
    [
        (accuracy, [], "0 updates"),
        (backward, [[0.5]], "1 updates; at least 2"),
        (forgetting, [[0.5]], "1 updates; at least 2"),
        (lambda s: forward(s, [0.1]), [[0.5]], "1 updates; at least 2"),
        (accuracy, [[0.5, 0.5], [0.5]], "a row has 1 scores for 2"),
        (accuracy, [[0.5, 0.5]], "a row has 2 scores for 1"),
        (lambda s: learned(s, [0.1]), KEPT, "a row has 1 scores for 3"),
        (accuracy, [[float("nan")]], "not a finite number"),
        (lambda s: learned(s, [float("inf")]), [[0.5]], "not a finite number"),
    ],
)
def test_no_metric_of_what_is_no_sequence(
    metric: Callable[[Any], float], scores: Scores, reason: str
) -> None:
    with pytest.raises(NoSequence, match=reason):
        metric(scores)


FINITE = st.floats(-100, 100)


@st.composite
def sequences(draw: st.DrawFn) -> tuple[Scores, list[float]]:
    n = draw(st.integers(2, 5))
    row = st.lists(FINITE, min_size=n, max_size=n)
    return draw(st.lists(row, min_size=n, max_size=n)), draw(row)


@given(sequences())
def test_forgetting_is_never_less_than_what_was_lost_since_learning(
    given_: tuple[Scores, list[float]],
) -> None:
    scores, _ = given_
    assert forgetting(scores) >= -backward(scores) - 1e-9


@given(sequences(), FINITE)
def test_a_score_that_is_shifted_everywhere_changes_accuracy_alone(
    given_: tuple[Scores, list[float]], by: float
) -> None:
    scores, origin = given_
    moved = [[value + by for value in row] for row in scores]
    from_ = [value + by for value in origin]
    assert accuracy(moved) == pytest.approx(accuracy(scores) + by, abs=1e-9)
    assert backward(moved) == pytest.approx(backward(scores), abs=1e-9)
    assert forgetting(moved) == pytest.approx(forgetting(scores), abs=1e-9)
    assert forward(moved, from_) == pytest.approx(forward(scores, origin), abs=1e-9)
    assert learned(moved, from_) == pytest.approx(learned(scores, origin), abs=1e-9)


@given(sequences())
def test_accuracy_is_what_was_learned_and_what_came_of_it(
    given_: tuple[Scores, list[float]],
) -> None:
    """accuracy = origin + learned + (T - 1) / T of backward: nothing is left unexplained."""
    scores, origin = given_
    n = len(scores)
    parts = sum(origin) / n + learned(scores, origin) + (n - 1) / n * backward(scores)
    assert accuracy(scores) == pytest.approx(parts, abs=1e-9)


@given(sequences())
def test_the_last_update_is_never_forgotten(given_: tuple[Scores, list[float]]) -> None:
    scores, _ = given_
    raised = [row[:-1] + [row[-1] + 1.0] for row in scores[:-1]] + [scores[-1]]
    assert forgetting(raised) == forgetting(scores)
    assert backward(raised) == backward(scores)
