"""Masking: consistent within a record, in every text of it, and nothing is left behind."""

import time
from dataclasses import replace
from typing import Any

import pytest

from tidegate.gates.checks.no_personal_data import PersonalData
from tidegate.gates.checks.no_secrets import Secrets
from tidegate.gates.masking import Masker
from tidegate.gates.routing import RowGate
from tidegate.gates.signals import personal_data, surrogates
from tidegate.gates.signals.personal_data import KINDS
from tidegate.gates.signals.secret_rules import load_rules

ALL = Masker(frozenset(KINDS), load_rules(), unicode=True)
KEY = surrogates.epoch_key(b"a secret of the home", "sha256:one batch")
STANDING_IN = replace(ALL, key=KEY)


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
    masked, reasons = ALL.mask(given)
    assert [m["content"] for m in masked["messages"]] == [
        "Write to [EMAIL_1] or [EMAIL_2].",
        "I wrote to [EMAIL_1].",
    ]
    assert masked["correction"] == masked["response"] == "I wrote to [EMAIL_2]."
    assert masked["comment"] == "[EMAIL_1] never answered"
    assert masked["prompt"] == "user: Write to [EMAIL_1] or [EMAIL_2]."
    assert {reason.gate for reason in reasons} == {"no_personal_data"}


def test_the_answer_is_what_is_learned_without_a_correction() -> None:
    masked, _ = ALL.mask(record("Call me?", "Call +44 20 7946 0958."))
    assert masked["response"] == "Call [PHONE_1]."


def test_a_word_in_one_message_explains_a_number_in_the_next() -> None:
    masked, _ = ALL.mask(record("hi", "What is your phone?", "467 3395", "Thanks."))
    assert masked["messages"][2]["content"] == "[PHONE_1]"


def test_hidden_characters_do_not_hide_anything() -> None:
    masked, reasons = ALL.mask(
        record("a\u200bnn@exam\u200dple.org", "card ４１１１ １１１１ １１１１ １１１１")
    )
    assert [m["content"] for m in masked["messages"]] == ["[EMAIL_1]", "card [CARD_1]"]
    assert {reason.gate for reason in reasons} == {"plain_unicode", "no_personal_data"}


def test_without_the_unicode_gate_it_is_found_all_the_same() -> None:
    masker = Masker(kinds=frozenset({"email"}))
    masked, reasons = masker.mask(record("a\u200bnn@example.org 👩\u200d👧", "ok 👩\u200d👧"))
    assert masked["messages"][0]["content"].startswith("[EMAIL_1]")
    assert {reason.gate for reason in reasons} == {"no_personal_data"}


def test_only_what_is_asked_for_is_masked() -> None:
    masker = Masker(kinds=frozenset({"card"}))
    masked, reasons = masker.mask(
        record("4111 1111 1111 1111 is ann@example.org's", "ok 👩\u200d👧")
    )
    assert masked["messages"][0]["content"] == "[CARD_1] is ann@example.org's"
    assert masked["messages"][1]["content"] == "ok 👩\u200d👧"
    assert {reason.gate for reason in reasons} == {"no_personal_data"}


def test_an_address_over_two_messages_stays_in_its_messages() -> None:
    masked, _ = ALL.mask(record("I live at 221 Baker Street\nApt. 4", "Suite 12 is next door"))
    assert len(masked["messages"]) == 2
    text = "\n".join(m["content"] for m in masked["messages"])
    assert "221" not in text and "Apt" not in text and "Suite 12" not in text


def test_a_clean_record_is_not_touched() -> None:
    given = record("How are you 👩\u200d👧?", "Fine, ３ times.", comment="good")
    masked, reasons = ALL.mask(given)
    assert masked["messages"] == given["messages"]
    assert not reasons


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


VALUES = {
    "email": "Ann.Lee@mail.example.co.uk",
    "phone": "+44 20 7946 0958",
    "card": "4111 1111 1111 1111",
    "iban": "GB82 WEST 1234 5698 7654 32",
    "ip": "203.0.113.45",
    "ssn": "078-05-1120",
    "wallet": "0x52908400098527886E0F7030069857D2E4169EE7",
    "id_number": "12345678Z",
    "address": "221 Baker Street",
    "birth_date": "19.05.1981",
    "device": "3c:22:fb:9a:01:d4",
    "coordinates": "52.51631, 13.37770",
}


# Some are told from other numbers by the words before them.
CUES = {"birth_date": "DOB ", "coordinates": "GPS "}


def said_of(text: str, name: str = "r1", masker: Masker = STANDING_IN) -> str:
    masked, _ = masker.mask({"id": name, **record(text)})
    return str(masked["messages"][0]["content"])


def test_every_kind_has_a_stand_in() -> None:
    assert set(VALUES) == set(KINDS)


@pytest.mark.parametrize(("kind", "value"), VALUES.items())
def test_a_stand_in_is_of_its_kind_and_no_finding(kind: str, value: str) -> None:
    for n in range(50):
        text = said_of(f"well, {CUES.get(kind, '')}{value} it is.", f"r{n}")
        assert value not in text and "[" not in text
        assert personal_data.find(text) == []


@pytest.mark.parametrize(("kind", "value"), VALUES.items())
def test_the_same_value_gets_the_same_one_only_in_its_record(kind: str, value: str) -> None:
    cue = CUES.get(kind, "")
    value = cue + value
    once = said_of(f"{value}\nand again\n{value}")
    first, _, again = once.split("\n")
    assert first == again
    others = {said_of(value, f"r{n}") for n in range(20)} | {said_of(value)}
    assert len(others) > 15
    assert said_of(value, masker=replace(ALL, key=b"another epoch")) != said_of(value)


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        ("phone", "+44 20 7946 0958", "020 7946 0958"),
        ("phone", "(415) 555-2671", "+1 415.555.2671 x12"),
        ("email", "Ann@mail.org", "ann (at) mail (dot) org"),
        ("card", "4111 1111 1111 1111", "4111111111111111"),
        ("address", "221 Baker Street", "221 BAKER street"),
    ],
)
def test_ways_to_write_a_value_get_one_stand_in(kind: str, one: str, other: str) -> None:
    assert surrogates.normalised(kind, one) == surrogates.normalised(kind, other)


def test_two_values_of_a_record_get_two() -> None:
    text = said_of(" , ".join(f"ann{n}@mail.org" for n in range(200)))
    assert len(set(text.split(" , "))) == 200


def test_a_card_passes_luhn_and_an_iban_mod_97() -> None:
    card = surrogates.stand_in("card", "x", key=KEY, record="r")
    iban = surrogates.stand_in("iban", "x", key=KEY, record="r")
    assert personal_data.luhn(card.replace(" ", "").encode()) and card.startswith("0000 0000")
    assert surrogates.mod97(iban.replace(" ", "").encode()) == 1 and iban.startswith("ZZ")


@pytest.mark.parametrize(
    "text",
    [
        "john.user12345@mail.org",
        "xuser12345@example.org",
        "user12345@example.org.uk",
        "call +297-555-0142 now",
        "pay with 4929 0000 0000 0000",
        "GB82 WEST 1234 5698 7654 32",
    ],
)
def test_a_stand_in_as_a_part_hides_nothing(text: str) -> None:
    assert personal_data.find(text)


@pytest.mark.parametrize("text", ["a" * 70 + "@mail.org", "-ann@mail.org", "ann@mail.org_2 x"])
def test_awkward_neighbours_cannot_keep_a_record_from_being_masked(text: str) -> None:
    assert personal_data.find(said_of(f"see {text}")) == []


def test_secrets_get_a_placeholder() -> None:
    assert said_of("key AKIA" + "QWERTZ7UIOP4ASDF") == "key [SECRET_1]"


def test_a_record_full_of_values_is_masked_in_time() -> None:
    began = time.process_time()
    said_of(" ".join(f"ann{n}@mail.org" for n in range(5_000)))
    assert time.process_time() - began < 5


def gate(params: PersonalData | Secrets) -> RowGate:
    name = "no_personal_data" if isinstance(params, PersonalData) else "no_secrets"
    return RowGate(name, params, (), True)


def test_the_policy_says_what_is_put_there_and_where_to_look() -> None:
    rules = load_rules()
    chosen = PersonalData(mask=True, kinds=["phone"], locales=["us"])
    masker = Masker.of([gate(chosen), gate(Secrets(mask=False))], rules, KEY)
    assert (masker.kinds, masker.locales, masker.key) == ({"phone"}, {"us"}, KEY)
    assert masker.rules is None
    plain = PersonalData(mask=True, replace_with="placeholder")
    assert Masker.of([gate(plain)], rules, KEY).key is None
    assert "a secret" not in repr(masker) and str(KEY) not in repr(masker)
