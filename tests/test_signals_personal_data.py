"""Structured personal data: what is found, and what looks like it and is not."""

import pyarrow as pa
import pytest

from tidegate.gates.signals import personal_data
from tidegate.gates.signals.personal_data import luhn


def found(text: str) -> list[tuple[str, str]]:
    return [(f.kind, text[f.start : f.end]) for f in personal_data.find(text)]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("email", "ann.lee+news@mail.example.co.uk"),
        ("email", "o'neil@example.org"),
        ("phone", "(555) 123-4567"),
        ("phone", "+44 20 7946 0958"),
        ("phone", "001-555-201-9876x123"),
        ("phone", "415-555-0132"),
        ("phone", "415.555.0132"),
        ("phone", "01.84.17.61.18"),
        ("phone", "+49 (0)30 901820"),
        ("phone", "07700 900 123"),
        ("card", "4111 1111 1111 1111"),
        ("card", "5555-5555-5555-4444"),
        ("card", "378282246310005"),
        ("card", "4222222222222"),
        ("card", "6304000000000000"),
        ("iban", "GB82 WEST 1234 5698 7654 32"),
        ("iban", "de89370400440532013000"),
        ("ip", "203.0.113.45"),
        ("ip", "2001:db8::8a2e:370:7334"),
        ("ssn", "078-05-1120"),
        ("wallet", "0x52908400098527886E0F7030069857D2E4169EE7"),
        ("wallet", "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2"),
        ("id_number", "12345678Z"),
        ("id_number", "AB 12 34 56 C"),
        ("address", "221 Baker Street"),
        ("address", "Suite 804"),
        ("address", "PSC 0413, Box 8144\nAPO AA 42323"),
        ("address", "Villacher Strasse 89"),
        ("address", "ul. Chrzanowska 61"),
    ],
)
def test_the_usual_forms_are_found(kind: str, value: str) -> None:
    named = [(k, v) for k, v in found(f"well, {value} it is.") if value in v]
    assert [k for k, _ in named] == [kind]


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("phone", "What is your number?\nMy phone: 467 3395", "467 3395"),
        ("phone", "please call me on 5551234567 today", "5551234567"),
        ("ssn", "my social security number is 078051120", "078051120"),
        ("id_number", "My driver's license number is 6940579", "6940579"),
        ("id_number", "passport no. X1234567 expires", "X1234567"),
        ("address", "my zip code is 35350", "35350"),
        ("address", "ZIP: 7412 SL", "7412 SL"),
        ("address", "Meet me at Dalmatinova 68 tonight", "Dalmatinova 68"),
        ("card", "my card 4111 1111 1111 1112 is lost", "4111 1111 1111 1112"),
    ],
)
def test_the_words_around_say_what_a_number_is(kind: str, text: str, value: str) -> None:
    assert (kind, value) in found(text)


@pytest.mark.parametrize(
    "text",
    [
        "The meeting is on 2026-05-01 at 12:30, or 01/05/2026.",
        "It lasted from 1914-1918 and again 1939 - 1945.",
        "Pi is 3.14159265, and the total was 1,234,567.89.",
        "Version 1.2.3.4 runs on 192.168.0.10 and 127.0.0.1.",
        "Order number 4111111111111112 has shipped.",
        "ISBN 978-3-16-148410-0 is a book.",
        "Chapter 12 is on page 345 of 678.",
        "Add 200 g of flour, 3 eggs and 150 ml of milk.",
        "I use Windows 11 and Python 3.11 on Monday 4.",
        "Mention @anna or @bob_1 in the channel.",
        "It costs $1 234 567 in 2026.",
    ],
)
def test_what_only_looks_like_it_is_left_alone(text: str) -> None:
    assert found(text) == []


def test_a_column_counts_records_in_bulk() -> None:
    counts = personal_data.measure(
        pa.array(["nothing", "a@b.io and c@d.io", "", "+1 415 555 0132"])
    )
    assert counts["pii_email"].tolist() == [0, 2, 0, 0]
    assert counts["pii_phone"].tolist() == [0, 0, 0, 1]


def test_offsets_are_characters_also_behind_other_scripts() -> None:
    text = "Привет 👩‍👩‍👧 — 日本: a@b.io"
    assert found(text) == [("email", "a@b.io")]


@pytest.mark.parametrize(
    ("digits", "valid"), [(b"4111111111111111", True), (b"79927398710", False)]
)
def test_luhn(digits: bytes, valid: bool) -> None:
    assert luhn(digits) is valid
