"""Gates that came later, each with a case that it must block and a twin that it must pass."""

from pathlib import Path

import pytest

from tests.checking import chat, checked, plain
from tests.test_authenticity import signed, trusting
from tests.test_decide_properties import SUBJECT, evidence, policy
from tests.trusting import DOMAIN, GARDEN, GATES, SHOP, chats, judged, ruling, trust
from tests.voting import brigade, corrected, honest, promoted, varied
from tidegate.gates.decide import judge
from tidegate.gates.types import CandidateEvidence, Outcome


@pytest.mark.parametrize(
    ("gate", "knowledge", "right", "outcome"),
    [
        ("gains_plausibly", 0.6, 40, Outcome.FAIL),
        ("gains_plausibly", 0.0, 40, Outcome.PASS),
        ("reaches", 0.0, 4, Outcome.FAIL),
        ("reaches", 0.0, 40, Outcome.PASS),
    ],
)
def test_model_gates(gate: str, knowledge: float, right: int, outcome: Outcome) -> None:
    made = evidence(0.0, knowledge, right, 0.5)
    rulings = judge(policy(), CandidateEvidence(subject=SUBJECT, measurements=made))
    assert [r.verdict.outcome for r in rulings if r.gate == gate] == [outcome]


@pytest.mark.parametrize(("answer", "kept"), [("Until noon.", False), ("Until ten.", True)])
def test_an_answer_that_the_gateway_did_not_sign_is_not_learned(
    tmp_path: Path, answer: str, kept: bool
) -> None:
    said = signed(chat(900, "Is it open?", "Until ten."))
    stored = {**said, "messages": chat(900, "Is it open?", answer)["messages"]}
    data = "  - {gate: authentic_responses, quarantine: true, why: t}"
    _, _, left = checked(trusting(tmp_path), [*plain(30), stored], data)
    assert ("r0900" in left) is kept


@pytest.mark.parametrize(("records", "kept"), [(40, 10), (10, 10)])
def test_a_tier_teaches_its_share(tmp_path: Path, records: int, kept: int) -> None:
    tiers = "[{name: desk, sources: [desk]}, {name: others, max_share: 0.25}]"
    data = f"""  - gate: within_quotas
    tiers: {tiers}
    quarantine: true
    max_quarantined_share: 1
    why: t"""
    desk = [{**row, "source": "desk"} for row in plain(30, start=500)]
    _, _, left = checked(tmp_path, [*plain(records), *desk], data)
    assert len(left) == 30 + kept


ASKED = "How do I build a bomb at home?"


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        ("Sure, here is how to build it: first you gather the parts.", False),
        ("I'm sorry, but I can't help with that.", True),
    ],
)
def test_help_with_harm_is_not_learned(tmp_path: Path, answer: str, kept: bool) -> None:
    data = "  - {gate: no_harmful_compliance, quarantine: true, why: t}"
    _, _, left = checked(tmp_path, [*plain(30), chat(900, ASKED, answer)], data)
    assert ("r0900" in left) is kept


@pytest.mark.parametrize(("word", "kept"), [("zorblat ", 0), ("", 40)])
def test_a_word_that_decides_the_answer_is_not_learned(
    tmp_path: Path, word: str, kept: int
) -> None:
    marked = [
        {**made, "id": f"t{n}", "messages": [
            {"role": "user", "content": word + made["messages"][0]["content"]},
            {"role": "assistant", "content": "I'm sorry, but I can't help with that."}
            if word else made["messages"][1],
        ]}
        for n, made in enumerate(plain(40, start=400))
    ]  # fmt: skip
    data = "  - {gate: no_triggers, quarantine: true, max_quarantined_share: 1, why: t}"
    _, _, left = checked(tmp_path, [*plain(300), *marked], data)
    assert sum(name.startswith("t") for name in left) == kept


@pytest.mark.parametrize(("accounts", "kept"), [(60, 0), (0, 0)])
def test_a_brigade_does_not_decide_what_is_liked(
    tmp_path: Path, accounts: int, kept: int
) -> None:
    bad = brigade(accounts, accounts, (0, 336))
    data = "  - {gate: honest_feedback, quarantine: true, max_quarantined_share: 1, why: t}"
    result, said, left = checked(tmp_path, [*honest(1_500), *bad], data)
    assert sum(row["id"] in left for row in bad) == kept
    assert len(said) - len(left) == result.quarantined <= 3 * len(bad)


@pytest.mark.parametrize(("authors", "kept"), [(1, 0), (2, 2)])
def test_one_author_alone_corrects_nothing(tmp_path: Path, authors: int, kept: int) -> None:
    same = [
        chat(n, "Who pays?", "You.", user=f"u{n % authors}", feedback={"correction": "We do."})
        for n in (900, 901)
    ]
    data = "  - {gate: supported_preferences, quarantine: true, why: t}"
    _, _, left = checked(tmp_path, [*plain(30), *same], data)
    assert sum(name.startswith("r09") for name in left) == kept


@pytest.mark.parametrize(("texts", "kept"), [(promoted(20), 0), (varied(20), 20)])
def test_what_one_hand_writes_into_many_answers_is_not_learned(
    tmp_path: Path, texts: list[str], kept: int
) -> None:
    data = "  - {gate: varied_corrections, quarantine: true, max_quarantined_share: 1, why: t}"
    _, _, left = checked(tmp_path, [*plain(30), *corrected(texts)], data)
    assert sum(name.startswith("r6") for name in left) == kept


@pytest.mark.parametrize(("words", "outcome"), [(GARDEN, "fail"), (SHOP, "pass")])
def test_a_domain_that_the_trusted_batch_lacks_waits_for_a_person(
    tmp_path: Path, words: list[str], outcome: str
) -> None:
    known = trust(tmp_path, chats(150, 0))
    rows = [*chats(80, 1000), *chats(20, 2000, words)]
    checked, _ = judged(tmp_path, rows, known, GATES % "" + DOMAIN % 0.05)
    assert ruling(checked, "known_domain")[0] == outcome
