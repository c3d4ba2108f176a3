"""From results to lines, claims, table and pictures: by hand on made-up answers."""

import math

import pytest

from tidegate.evals.sequence.drift import Drift
from tidegate.flows.sequencing.result import Answered, ArmResult, Cost, State
from tidegate.flows.sequencing.show import Benchmark, as_markdown, retention, tradeoff
from tidegate.flows.sequencing.summarise import Claim, claims, measures, spread, summarise

DIGEST = f"sha256:{'0' * 64}"
ORIGIN = (-1.0, -1.0)


def state(
    updates: int, margins: tuple[float, float], kl: float, implied: float = -1.0
) -> State:
    return State(
        updates=updates,
        model=DIGEST,
        probes=tuple(
            Answered(
                items=("direct", "follows"),
                slices=("person", "implied"),
                margin=(2 * margin - implied, implied),  # so that the mean is `margin`
                loglik=(margin - 1, margin - 1),
            )
            for margin in margins
        ),
        text=Drift(kl=(kl, kl), nll=(3.0 + kl, 3.0)),
        refusal=(0.5 - kl,),
        cost=Cost(seconds=2.0, tokens=100, steps=4) if updates else None,
    )


def result(
    arm: str, seed: int, first: tuple[float, float], last: tuple[float, float], kl: float
) -> ArmResult:
    return ArmResult(
        arm=arm,
        kind="sequential",
        seed=seed,
        recipe=DIGEST,
        data=DIGEST,
        states=(state(0, ORIGIN, 0.0), state(1, first, kl / 2), state(2, last, kl, -0.5)),
    )


LORA = [
    result("lora", 0, (1.0, -1.0), (0.5, 1.0), 0.2),
    result("lora", 1, (1.2, -1.0), (0.6, 1.2), 0.4),
]
GOOD = [
    result("anchored", 0, (1.0, -1.0), (0.9, 1.0), 0.02),
    result("anchored", 1, (1.2, -1.0), (1.1, 1.2), 0.04),
]
POOR = [
    result("anchored", 0, (0.0, -1.0), (-1.0, 0.0), 0.2),
    result("anchored", 1, (0.2, -1.0), (-1.0, 0.0), 0.4),
]


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
    reads = State(updates=2, model=DIGEST, probes=state(2, (1.0, 2.0), 0).probes)
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


@pytest.mark.parametrize(
    ("results", "answers"),
    [
        ([*LORA, *GOOD], ("held", "held", "held")),
        ([*LORA, *POOR], ("not held", "not held", "not held")),
        ([LORA[0], GOOD[0]], ("undecided", "undecided", "undecided")),
        (GOOD, ()),
    ],
)
def test_a_claim_is_held_where_the_whole_interval_says_so(
    results: list[ArmResult], answers: tuple[str, ...]
) -> None:
    assert tuple(claim.answer for claim in claims(results, "margin")) == answers


def test_where_nothing_was_forgotten_there_is_no_share_of_it() -> None:
    keeps = [result("lora", seed, (1.0, -1.0), (1.0, 1.0), 0.2) for seed in (0, 1)]
    found: Claim = claims([*keeps, *GOOD], "margin")[2]
    assert (found.ratio, found.answer) == (None, "undecided")


def test_seeds_that_only_one_of_the_two_has_are_left_out() -> None:
    found = claims([*LORA, GOOD[0]], "margin")
    assert found[0].ratio is not None and len(found[0].ratio.values) == 1


def test_the_table_and_the_pictures_name_every_arm() -> None:
    benchmark = Benchmark(
        base="tiny",
        base_digest=DIGEST,
        data="2 updates",
        settings={},
        recipes={},
        code=DIGEST,
        revision="unknown",
        environment=DIGEST,
        machine={},
        results=(*LORA, *GOOD),
        failed={"sparse, seed 0": "no slots left"},
    )
    text = as_markdown(benchmark)
    assert text.count("| lora | 2 |") == text.count("| anchored | 2 |") == 3
    assert "Failed: sparse, seed 0: no slots left" in text
    # Accuracy of these answers never falls, so there is no forgetting to take a share of.
    assert "0.550 [" in text and text.count(": held") == 8 and ": undecided" in text
    for picture in (tradeoff(benchmark.results), retention(benchmark.results)):
        assert picture.startswith(b"\x89PNG")
    assert [row.arm for row in summarise(benchmark.results, "acc")] == ["lora", "anchored"]
