"""From results to lines, table and pictures: by hand on made-up answers."""

import math
from itertools import pairwise

import pytest

from tests.sequence_results import GOOD, LORA, benchmark, state
from tidegate.flows.sequencing.pictures import look, retention, tradeoff
from tidegate.flows.sequencing.result import State
from tidegate.flows.sequencing.show import as_markdown
from tidegate.flows.sequencing.summarise import measures, spread, summarise


def test_measures_of_one_sequence_by_hand() -> None:
    assert measures(LORA[0], "margin") == pytest.approx(
        {
            "before": -1.0,
            "after": 0.75,
            "learned": 2.0,
            "forgetting": 0.5,
            "backward": -0.5,
            "forward": 0.0,
            "implied": 0.5,
            "kl": 0.2,
            "nll": 0.1,
            "refusal": -0.2,
            "seconds": 2.0,
            "tokens": 100.0,
        }
    )


def test_a_model_that_only_reads_has_no_matrix_and_no_drift() -> None:
    reads = State(updates=2, model=LORA[0].last.model, probes=state(2, (1.0, 2.0), 0).probes)
    context = LORA[0].model_copy(update={"kind": "context", "states": (LORA[0].origin, reads)})
    found = measures(context, "margin")
    assert found["learned"] == pytest.approx(2.5)
    assert not {"forgetting", "backward", "forward", "kl", "refusal", "seconds"} & set(found)


def test_the_interval_of_two_is_students() -> None:
    found = spread([1.0, 3.0])
    assert (found.mean, found.low, found.high) == pytest.approx((2.0, 2 - 12.7062, 2 + 12.7062))
    assert spread([1.0]).low is None
    for bad in ([], [math.nan]):
        with pytest.raises(ValueError, match="finite values"):
            spread(bad)


def test_the_table_and_the_pictures_name_every_arm() -> None:
    made = benchmark(*LORA, *GOOD, failed={"sparse, seed 0": "no slots left"})
    text = as_markdown(made)
    assert text.count("| lora | 2 |") == text.count("| anchored | 2 |") == 3
    assert "Failed: sparse, seed 0: no slots left" in text
    # Accuracy of these answers never falls, so there is no forgetting to take a share of.
    assert "0.550 [" in text and text.count(": held") == 8 and ": undecided" in text
    for picture in (tradeoff(made.results), retention(made.results)):
        assert picture.startswith(b"\x89PNG")
    assert [row.arm for row in summarise(made.results, "acc")] == ["lora", "anchored"]


def test_no_two_arms_look_alike() -> None:
    looks = [look(i) for i in range(36)]
    assert len({(one["color"], one["marker"]) for one in looks}) == 36
    assert all(one["color"] != other["color"] for one, other in pairwise(looks))
