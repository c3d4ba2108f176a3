"""Masking: consistent within a record, in every text of it, and nothing is left behind."""

from typing import Any

import pytest

from tidegate.gates.masking import Masker
from tidegate.gates.signals import personal_data
from tidegate.gates.signals.personal_data import KINDS
from tidegate.gates.signals.secret_rules import load_rules

ALL = Masker(frozenset(KINDS), load_rules(), unicode=True)


def record(
    *texts: str, correction: str | None = None, comment: str | None = None
) -> dict[str, Any]:
    roles = ("user", "assistant") * len(texts)
    messages = [{"role": r, "content": t} for r, t in zip(roles, texts, strict=False)]
    return {"messages": messages, "correction": correction, "comment": comment}


def test_the_same_value_gets_the_same_placeholder() -> None:
    given = record(
        "Write to Ann@example.org or bob@example.org.",
        "I wrote to ann@example.org.",
        correction="I wrote to bob@example.org.",
        comment="ann@example.org never answered",
    )
    masked, gates = ALL.mask(given)
    assert [m["content"] for m in masked["messages"]] == [
        "Write to [EMAIL_1] or [EMAIL_2].",
        "I wrote to [EMAIL_1].",
    ]
    assert masked["correction"] == masked["response"] == "I wrote to [EMAIL_2]."
    assert masked["comment"] == "[EMAIL_1] never answered"
    assert masked["prompt"] == "user: Write to [EMAIL_1] or [EMAIL_2]."
    assert gates == {"no_personal_data"}


def test_the_answer_is_what_is_learned_without_a_correction() -> None:
    masked, _ = ALL.mask(record("Call me?", "Call +44 20 7946 0958."))
    assert masked["response"] == "Call [PHONE_1]."


def test_a_word_in_one_message_explains_a_number_in_the_next() -> None:
    masked, _ = ALL.mask(record("hi", "What is your phone?", "467 3395", "Thanks."))
    assert masked["messages"][2]["content"] == "[PHONE_1]"


def test_hidden_characters_do_not_hide_anything() -> None:
    masked, gates = ALL.mask(
        record("a\u200bnn@exam\u200dple.org", "card ４１１１ １１１１ １１１１ １１１１")
    )
    assert [m["content"] for m in masked["messages"]] == ["[EMAIL_1]", "card [CARD_1]"]
    assert gates == {"plain_unicode", "no_personal_data"}


def test_without_the_unicode_gate_it_is_found_all_the_same() -> None:
    masker = Masker(kinds=frozenset({"email"}))
    masked, gates = masker.mask(record("a\u200bnn@example.org 👩\u200d👧", "ok 👩\u200d👧"))
    assert masked["messages"][0]["content"].startswith("[EMAIL_1]")
    assert gates == {"no_personal_data"}


def test_only_what_is_asked_for_is_masked() -> None:
    masker = Masker(kinds=frozenset({"card"}))
    masked, gates = masker.mask(
        record("4111 1111 1111 1111 is ann@example.org's", "ok 👩\u200d👧")
    )
    assert masked["messages"][0]["content"] == "[CARD_1] is ann@example.org's"
    assert masked["messages"][1]["content"] == "ok 👩\u200d👧"
    assert gates == {"no_personal_data"}


def test_an_address_over_two_messages_stays_in_its_messages() -> None:
    masked, _ = ALL.mask(record("I live at 221 Baker Street\nApt. 4", "Suite 12 is next door"))
    assert len(masked["messages"]) == 2
    text = "\n".join(m["content"] for m in masked["messages"])
    assert "221" not in text and "Apt" not in text and "Suite 12" not in text


def test_a_clean_record_is_not_touched() -> None:
    given = record("How are you 👩\u200d👧?", "Fine, ３ times.", comment="good")
    masked, gates = ALL.mask(given)
    assert masked["messages"] == given["messages"]
    assert not gates


@pytest.mark.parametrize(
    "text",
    [
        "mail ann@example.org, call 415-555-0132, pay GB82 WEST 1234 5698 7654 32",
        "Meet me at 221 Baker Street, Suite 9, zip code 35350, from 203.0.113.45",
        "key AKIA" + "QWERTZ7UIOP4ASDF and password=tr0ub4dor&3xyz for ann@example.org",
    ],
)
def test_what_is_masked_is_not_found_again(text: str) -> None:
    masked, _ = ALL.mask(record(text, text))
    for message in masked["messages"]:
        assert personal_data.find(message["content"]) == []
    assert ALL.mask(masked)[0]["messages"] == masked["messages"]
