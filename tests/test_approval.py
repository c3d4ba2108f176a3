"""The rules of gates/approval.py: when an answer counts, and what it can never do."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.waiver_world import HONESTY, LEARNED, NOW, REFUSAL, SCHEMA, People
from tidegate.gates.approval import (
    Answer,
    Subject,
    approve,
    not_approvable,
    refusals,
    refuse,
)
from tidegate.gates.decide import WORST_FIRST, decide
from tidegate.gates.digest import digest_bytes
from tidegate.gates.policy.nouns import Policy
from tidegate.gates.types import Action, Outcome, Ruling, Verdict

SOON = NOW + timedelta(hours=1)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> People:
    return People(tmp_path_factory.mktemp("people"))


@pytest.fixture(scope="module")
def policy(people: People) -> Policy:
    return people.policy()


def subject(rules: Policy, /, **other: str) -> Subject:
    digests = {
        name: digest_bytes(name.encode())
        for name in ("candidate", "base", "decision", "evidence_data", "evidence_model")
    }
    return Subject(**{"model": "m", "version": "2", "policy": rules.digest, **digests, **other})


def answer(policy: Policy, **other: Any) -> Answer:
    return Answer(
        **{
            "word": "approve",
            "name": "ada",
            "about": subject(policy),
            "reason": "a test",
            "issued_at": NOW,
            "expires_at": NOW + timedelta(hours=48),
            **other,
        }
    )


def reasons(
    said: Answer,
    policy: Policy,
    *signers: str,
    about: Subject | None = None,
    requester: str = "rita",
    unknown: tuple[str, ...] = (),
    now: datetime = SOON,
) -> list[str]:
    known = {reviewer.name: reviewer for reviewer in policy.reviewers}
    return refusals(
        said,
        about=about or subject(policy),
        requester=requester,
        signers=[known[name] for name in signers],
        unknown=unknown,
        policy=policy,
        now=now,
    )


def ruling(title: str, action: Action, outcome: Outcome = Outcome.FAIL) -> Ruling:
    verdict = Verdict(outcome=outcome, reason="a test")
    gate = title.split("(")[0]
    return Ruling(gate=gate, title=title, verdict=verdict, action=action, why="a test")


def test_an_answer_counts(policy: Policy) -> None:
    assert reasons(answer(policy), policy, "ada") == []
    assert reasons(answer(policy, name="bob", word="refuse"), policy, "bob") == []


@pytest.mark.parametrize("field", list(Subject.model_fields))
def test_an_answer_about_anything_else_counts_for_nothing(policy: Policy, field: str) -> None:
    other = {field: "n" if field in ("model", "version") else digest_bytes(b"other")}
    (reason,) = reasons(answer(policy), policy, "ada", about=subject(policy, **other))
    assert reason.startswith(f"its {field.replace('_', ' of ')} is ")


@pytest.mark.parametrize(
    ("signers", "more", "says"),
    [
        (("carl",), {"name": "carl"}, "'carl' has none of the roles model-reviewer"),
        ((), {}, "no reviewer of this policy signed it"),
        (("bob",), {}, "it says that 'ada' signs it, and nobody else does"),
        (("ada", "bob"), {}, "and nobody else does"),
    ],
)
def test_who_signs_is_who_it_says_and_may(
    policy: Policy, signers: tuple[str, ...], more: dict[str, str], says: str
) -> None:
    found = reasons(answer(policy, **more), policy, *signers)
    assert any(says in reason for reason in found), found


def test_strange_keys_and_unnamed_reviewers(policy: Policy, people: People) -> None:
    found = reasons(answer(policy), policy, "ada", unknown=("f" * 64,))
    assert found == [f"the key {'f' * 12}… is no reviewer's of this policy"]
    nobody = policy.model_copy(update={"reviewers": ()})
    said = answer(nobody)
    assert any("names no reviewers" in r for r in refusals_of_nobody(said, nobody))


def refusals_of_nobody(said: Answer, policy: Policy) -> list[str]:
    return refusals(
        said,
        about=said.about,
        requester="rita",
        signers=[],
        unknown=(),
        policy=policy,
        now=SOON,
    )


@pytest.mark.parametrize("requester", ["ada", " ADA "])
def test_four_eyes(policy: Policy, people: People, requester: str) -> None:
    found = reasons(answer(policy), policy, "ada", requester=requester)
    assert found == ["'ada' asked for the update and may not sign (four eyes)"]
    alone = people.policy("quorum: 1, valid_for: 72h, not: []")
    assert reasons(answer(alone), alone, "ada", requester=requester) == []


@pytest.mark.parametrize(
    ("more", "now", "says"),
    [
        ({}, NOW - timedelta(seconds=1), "not valid before"),
        ({}, NOW + timedelta(hours=48), "expired at 2026-11-11 12:00 UTC"),
        ({"expires_at": NOW + timedelta(hours=73)}, SOON, "lasts 73 h"),
    ],
)
def test_it_counts_while_it_lasts(
    policy: Policy, more: dict[str, Any], now: datetime, says: str
) -> None:
    (reason,) = reasons(answer(policy, **more), policy, "ada", now=now)
    assert says in reason


@pytest.mark.parametrize(
    ("blocking", "says"),
    [
        (ruling(REFUSAL, Action.REJECT), "it rejects"),
        (ruling(LEARNED, Action.HOLD, Outcome.MISSING), "it is MISSING"),
        (ruling(LEARNED, Action.HOLD, Outcome.ERROR), "it is ERROR"),
        (ruling(HONESTY, Action.HOLD), "locked by the policy"),
        (ruling(HONESTY, Action.HOLD, Outcome.INCONCLUSIVE), "locked by the policy"),
        (ruling("proof", Action.HOLD), "mend it"),
        (ruling(SCHEMA, Action.PROMOTE, Outcome.PASS), "nothing is held"),
    ],
)
def test_what_an_approval_never_covers(policy: Policy, blocking: Ruling, says: str) -> None:
    passed = ruling(SCHEMA, Action.PROMOTE, Outcome.PASS)
    (reason,) = not_approvable(policy, [passed, blocking])
    assert says in reason
    if blocking.action is not Action.PROMOTE:
        held = ruling(LEARNED, Action.HOLD)
        assert approve(policy, [passed, blocking, held]).action is blocking.action


@pytest.mark.parametrize("title", [LEARNED, REFUSAL, "envelope", "budget", "approval"])
@pytest.mark.parametrize("outcome", [Outcome.FAIL, Outcome.INCONCLUSIVE])
def test_what_is_held_is_approved_and_its_outcome_stays(
    policy: Policy, title: str, outcome: Outcome
) -> None:
    passed, held = (
        ruling(SCHEMA, Action.PROMOTE, Outcome.PASS),
        ruling(title, Action.HOLD, outcome),
    )
    assert not_approvable(policy, [passed, held]) == []
    decision = approve(policy, [passed, held])
    assert decision.action is Action.PROMOTE
    assert decision.rulings[0] == passed
    assert decision.rulings[1].approved and decision.rulings[1].verdict == held.verdict


def test_one_refusal_rejects(policy: Policy) -> None:
    asked = ruling("approval", Action.HOLD, Outcome.INCONCLUSIVE)
    decision = refuse([ruling(SCHEMA, Action.PROMOTE, Outcome.PASS), asked], ["bob"])
    assert decision.action is Action.REJECT
    assert [r.title for r in decision.rulings] == [SCHEMA, "approval"]
    assert decision.rulings[1].verdict.reason == "refused by bob"


@given(
    st.lists(
        st.tuples(
            st.sampled_from([SCHEMA, REFUSAL, HONESTY, LEARNED, "proof", "envelope"]),
            st.sampled_from(list(Action)),
            st.sampled_from(list(Outcome)),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_an_approval_takes_at_most_one_step_and_never_from_a_rejection(
    policy: Policy, said: list[tuple[str, Action, Outcome]]
) -> None:
    rulings = [ruling(*one) for one in said]
    before, after = decide(rulings).action, approve(policy, rulings).action
    if before is not Action.HOLD:
        assert after is before
    assert WORST_FIRST.index(after) - WORST_FIRST.index(before) in (0, 1)
    promotes = after is Action.PROMOTE and before is Action.HOLD
    assert promotes == (not not_approvable(policy, rulings))
