"""Structured personal data: what is found, and what looks like it and is not."""

from typing import get_args

import pyarrow as pa
import pytest

from tidegate.gates.checks.no_personal_data import Locale
from tidegate.gates.signals import national_ids, personal_data, phone_regions
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
        ("phone", "612 34 56 78"),
        ("phone", "06 12 34 56 78"),
        ("phone", "699 956 915"),
        ("phone", "08-12 36 54"),
        ("phone", "07400123456"),
        ("email", "ann (at) mail (dot) org"),
        ("card", "4111.1111.1111.1111"),
        ("card", "4111 - 1111 - 1111 - 1111"),
        ("card", "4111\u00a01111\u00a01111\u00a01111"),
        ("card", "6304000000000000000"),
        ("id_number", "44051401359"),
        ("id_number", "1 85 05 78 006 084 91"),
        ("id_number", "529.982.247-25"),
        ("id_number", "756.9217.0769.85"),
        ("id_number", "811228-9874"),
        ("id_number", "1EG4-TE5-MK73"),
        ("id_number", "S1234567D"),
        ("id_number", "11010519491231002X"),
        ("address", "Lindenallee 14a, 50968 Köln"),
        ("address", "3 impasse des Lilas"),
        ("address", "SW1A 2AA"),
        ("address", "Keizersgracht 123"),
        ("address", "8 wressle road"),
        ("address", "4 Kawarohetau Rise"),
        ("email", "ann{at}mail{dot}org"),
        ("email", "ann @ mail . org"),
        ("email", "ann&#64;mail.org"),
        ("email", "ann.lee at mail.org"),
        ("email", "ann arobase mail point fr"),
        ("phone", "+49‑30‑901820"),
        ("card", "4111–1111–1111–1111"),
        ("ip", "203[.]0[.]113[.]45"),
        ("wallet", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"),
        ("wallet", "rHb9CJAWyB4rj91VRWn96DkukG4bwdtyTh"),
        ("device", "3c:22:fb:9a:01:d4"),
        ("device", "3c22.fb9a.01d4"),
        ("coordinates", "52°31'12.0\"N 13°24'36.0\"E"),
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
        ("card", "4111 1111 1111 1111 04/29 123", "4111 1111 1111 1111"),
        ("phone", "WhatsApp +33 6 12 34 67 82", "+33 6 12 34 67 82"),
        ("id_number", "Steuer-ID 65929970489", "65929970489"),
        ("id_number", "my TFN is 123 456 782", "123 456 782"),
        ("address", "billing address: 46 velky pruhon 426, now", "46 velky pruhon 426"),
        ("birth_date", "DOB: 04/05/1981", "04/05/1981"),
        ("birth_date", "I was born on 4 May 1981 in Leeds", "4 May 1981"),
        ("birth_date", "geboren am 04.05.1981", "04.05.1981"),
        ("coordinates", "I'm at 52.51631, 13.37770 now", "52.51631, 13.37770"),
        ("device", "IMEI 490154203237518", "490154203237518"),
        ("id_number", "my licence plate is AB12 CDE", "AB12 CDE"),
        ("id_number", "sort code 12-34-56 account 12717386", "12717386"),
        ("id_number", "passport (UK) 123456789", "123456789"),
        ("ssn", "last four of my SSN is 1120", "1120"),
        ("iban", "My IBAN is DE89370400440532013001", "DE89370400440532013001"),
        ("card", "my card is 4111, 1111, 1111, 1111", "4111, 1111, 1111, 1111"),
        ("email", "my email is ann at mail.org", "ann at mail.org"),
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
        "It's like that since 12/1/1977.",
        "doi:10.1053/j.ajkd.2010.06.011 and 660-549695 = -549035",
        "The population grew from 612 345 678 people to 1 612 345 678.",
        "1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610",
        "A 10 minute drive, a two lane road and the 4th place. Overall, Summer 2018",
        "id=100200300400 took 1699999999999 ms",
        "x = 17.97175962; y = 0.1533339058",
        "She was born on March 14, 1961 in Ulm.",
        "look at example.com, a point at some point in time",
        "the plates A12 and B7, the registration 2024 form",
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


@pytest.mark.parametrize(
    ("text", "locale"),
    [
        ("it is 612 34 56 78 then", "es"),
        ("it is 44051401359 then", "pl"),
        ("it is 07400123456 then", "gb"),
    ],
)
def test_a_form_of_one_country_is_found_where_its_locale_is_chosen(
    text: str, locale: str
) -> None:
    assert personal_data.find(text, frozenset({locale}))
    assert not personal_data.find(text, frozenset({"us"}))


def test_what_the_text_calls_a_phone_needs_no_locale() -> None:
    assert personal_data.find("call me: 612 34 56 78", frozenset({"us"}))


def test_a_phone_below_an_address_stays_a_phone() -> None:
    text = "221 Baker Street\nLondon\n69 987 88 37 office"
    assert found(text) == [("address", "221 Baker Street\nLondon"), ("phone", "69 987 88 37")]


def test_the_policy_knows_the_locales_that_the_signals_know() -> None:
    assert get_args(Locale) == personal_data.LOCALES
    assert set(national_ids.PACKS) <= set(personal_data.LOCALES)


@pytest.mark.parametrize("locale", personal_data.LOCALES)
def test_every_country_has_telephone_numbers(locale: str) -> None:
    assert phone_regions.regions(frozenset({locale})) is not None


@pytest.mark.parametrize(
    "text",
    [
        "Top 7 Amazon River Facts",
        "17 Simple Points to Sleep",
        "row 21: 079 443 5671 98",
        "build 84455, run 02573851006",
        "mod 06092 of 013255072 equals 1628",
        "tracking 4988 1306 3785 2676 5874 61",
    ],
)
def test_lists_rows_and_running_numbers_are_nobodys(text: str) -> None:
    assert personal_data.find(text) == []


def test_a_street_of_joined_names_is_found_whole() -> None:
    (found,) = personal_data.find("Carina-Gerlach-Allee 43")
    assert (found.start, found.end) == (0, 23)
