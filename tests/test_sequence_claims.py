"""What is said of a method, and when the results say it: by hand on made-up answers."""

import pytest

from tests.sequence_results import COST, GOOD, LORA, POOR, long, result
from tidegate.flows.sequencing.arms import Kind
from tidegate.flows.sequencing.claims import claimed_arm, claims, cost_claims
from tidegate.flows.sequencing.result import ArmResult, Cost
from tidegate.flows.usage import UsageError

# Of anchored with two sequences that learned 2.0 and 2.2.
FAST = [
    result("lora@0.01", 0, (2.0, -1.0), (0.5, 2.0), 0.4),
    result("lora@0.01", 1, (2.2, -1.0), (0.6, 2.2), 0.8),
]
TOKENS, DEAR = (COST.model_copy(update={"tokens": n}) for n in (109, 200))


@pytest.mark.parametrize(
    ("results", "answers"),
    [
        ([*LORA, *GOOD], ("held", "held", "held")),
        ([*LORA, *POOR], ("not held", "not held", "not held")),
        ([LORA[0], GOOD[0]], ("undecided", "undecided", "undecided")),
        ([LORA[0], GOOD[1]], ("undecided", "undecided", "undecided")),  # no sequence of both
        (GOOD, ()),
        (LORA, ()),
    ],
)
def test_a_claim_is_held_where_the_whole_interval_says_so(
    results: list[ArmResult], answers: tuple[str, ...]
) -> None:
    assert tuple(claim.answer for claim in claims(results, "margin")) == answers


def test_where_nothing_was_forgotten_there_is_no_share_of_it() -> None:
    keeps = [result("lora", seed, (1.0, -1.0), (1.0, 1.0), 0.2) for seed in (0, 1)]
    found = claims([*keeps, *GOOD], "margin")[2]
    assert (found.ratio, found.answer) == (None, "undecided")


def test_seeds_that_only_one_of_the_two_has_are_left_out() -> None:
    found = claims([*LORA, GOOD[0]], "margin")
    assert found[0].ratio is not None and len(found[0].ratio.values) == 1


def test_the_opponent_is_the_plain_lora_that_learned_most() -> None:
    found = claims([*LORA, *FAST, *GOOD], "margin")
    assert all("lora@0.01 (learned most of lora, lora@0.01)" in c.claim for c in found)
    assert found[0].ratio is not None
    assert found[0].ratio.values == pytest.approx((2.0 / 3.0, 2.2 / 3.2))
    assert found[0].answer == "not held" and found[1].answer == "held"


def test_the_opponent_is_chosen_on_the_sequences_of_all_and_not_for_easier_facts() -> None:
    easy = [result("lora@0.01", 1, (1.1, -1.0), (0.5, 1.1), 0.2)]  # 2.1: above the mean of lora
    hard = [result("lora", seed, (0.0, -1.0), (0.0, 0.0), 0.2) for seed in (2, 3)]
    found = claims([*LORA, *hard, *easy, *GOOD], "margin")
    assert "that of lora (learned most" in found[0].claim
    apart = [result("lora@0.01", 9, (2.0, -1.0), (0.5, 2.0), 0.4)]
    found = claims([*LORA, *apart, *GOOD], "margin")
    assert "best of lora, lora@0.01 (no sequence is shared by all)" in found[0].claim
    assert {claim.answer for claim in found} == {"undecided"}


def test_claims_are_made_of_another_arm_and_not_against_itself() -> None:
    found = claims([*LORA, *FAST, *GOOD], "margin", "lora@0.01")
    assert found[0].claim == "the learning of lora@0.01 as a share of that of lora"
    assert found[0].answer == "held" and found[1].answer == "not held"
    assert claims(LORA, "margin", "lora") == ()


# Joint retraining gains 2.0 on every probe, so five sixths of it are 1.667.
@pytest.mark.parametrize(
    ("ends", "answer"),
    [
        ((0.70, 0.70), "held"),
        ((0.60, 0.60), "not held"),
        ((0.60, 0.80), "undecided"),
        ((0.70,), "undecided"),
    ],
)
def test_against_joint_retraining_what_was_gained_decides(
    ends: tuple[float, ...], answer: str
) -> None:
    mine = [long("anchored", seed, end) for seed, end in enumerate(ends)]
    joint = [long("joint", seed, 1.0) for seed in range(2)]
    (found,) = claims([*mine, *joint], "margin")
    assert found.ratio is not None
    assert found.ratio.values == pytest.approx([(end + 1) / 2 for end in ends])
    assert found.answer == answer
    assert "by the end of 4 updates" in found.claim and "joint gained" in found.claim
    assert found.at_least == pytest.approx(0.8333, abs=1e-4)


def test_the_best_of_several_joint_arms_is_taken() -> None:
    arms = [long("anchored", 0, 0.5), long("joint", 0, 0.7), long("joint@0.01", 0, 1.0)]
    (found,) = claims(arms, "margin")
    assert "joint@0.01 (gained most of joint, joint@0.01)" in found.claim


@pytest.mark.parametrize(
    "results",
    [
        [long("anchored", 0, 1.0)],
        [long("anchored", 0, 1.0, (COST,) * 3), long("joint", 0, 1.0, (COST,) * 3)],
        [long("joint", 0, 1.0)],
    ],
    ids=["no joint arm", "three updates", "joint alone"],
)
def test_nothing_is_said_against_joint_retraining_without_it_or_too_early(
    results: list[ArmResult],
) -> None:
    assert claims(results, "margin") == ()


def test_joint_retraining_that_gained_nothing_decides_nothing() -> None:
    results = [long(arm, s, e) for s in (0, 1) for arm, e in (("anchored", 1.0), ("joint", -1))]
    (found,) = claims(results, "margin")
    assert (found.ratio, found.answer) == (None, "undecided")


@pytest.mark.parametrize(
    ("costs", "tokens"),
    [
        ((DEAR, COST, COST, TOKENS), "held"),  # the first update is no yardstick
        ((COST, COST, DEAR, COST), "held"),
        ((COST, COST, COST, DEAR), "not held"),
        ((COST, COST, COST, None), "undecided"),
        ((COST, None, COST, COST), "undecided"),
        ((COST, COST, COST, COST.model_copy(update={"tokens": 0})), "undecided"),
    ],
)
def test_the_last_update_costs_what_the_second_did(
    costs: tuple[Cost | None, ...], tokens: str
) -> None:
    found = cost_claims([long("anchored", seed, 1.0, costs) for seed in (0, 1)])
    assert found[0].answer == tokens
    assert found[1].answer == ("undecided" if None in costs else "held")
    assert "tokens" in found[0].claim and "seconds" in found[1].claim
    assert "noisy" in found[1].claim and found[0].at_most == found[1].at_most == 1.1


def test_seconds_are_a_claim_of_their_own() -> None:
    slow = COST.model_copy(update={"seconds": 4.0})
    costs = (COST, COST, slow)
    found = cost_claims([long("anchored", seed, 1.0, costs) for seed in (0, 1)])
    assert [claim.answer for claim in found] == ["held", "not held"]


def test_with_two_updates_or_without_the_arm_there_is_no_late_and_early() -> None:
    assert cost_claims(GOOD) == ()
    assert cost_claims([long("replay", 0, 1.0), long("joint", 0, 1.0)]) == ()
    assert cost_claims([long("joint", 0, 1.0)], "joint") == ()
    assert len(cost_claims([long("replay", 0, 1.0)], "replay")) == 2


def test_claims_are_made_of_a_method_that_is_there() -> None:
    kinds: dict[str, Kind] = {"anchored@1e-3": "sequential", "joint": "joint"}
    assert claimed_arm("anchored@1e-3", kinds) == "anchored@1e-3"
    for name in ("anchored", "joint"):
        with pytest.raises(UsageError, match=f"of '{name}'.*anchored@1e-3"):
            claimed_arm(name, kinds)
