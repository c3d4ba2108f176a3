"""Unicode tricks: found, undone, and not confused with what languages and emoji need."""

import pyarrow as pa
import pytest

from tidegate.gates.signals import unicode_tricks as tricks


@pytest.mark.parametrize(
    ("text", "kinds", "clean"),
    [
        ("a\u200bb", ["invisible"], "ab"),
        ("wo\u00adrd", ["invisible"], "word"),
        ("\ufeffstart", ["invisible"], "start"),
        ("x \u202eabc\u202c", ["bidi", "bidi"], "x abc"),
        ("a\u2066b\u2069", ["bidi", "bidi"], "ab"),
        ("hi\U000e0061\U000e0062", ["tag", "tag"], "hi"),
        ("a\ufe0f", ["variation"], "a"),
        ("a\U000e0101", ["variation"], "a"),
        ("p\u0430ypal", ["mixed"], "paypal"),
        ("\u0441\u043e\u0440\u0443 this", ["mixed"], "copy this"),
        ("\u0391pple", ["mixed"], "Apple"),
        ("end\u200d", ["invisible"], "end"),
    ],
)
def test_tricks_are_found_and_undone(text: str, kinds: list[str], clean: str) -> None:
    assert [f.kind for f in tricks.tricks(text)] == kinds
    assert tricks.cleaned(text) == clean
    assert tricks.tricks(tricks.cleaned(text)) == []


@pytest.mark.parametrize(
    "text",
    [
        "naïve café, Straße, ångström",
        "👩\u200d👩\u200d👧 ❤\ufe0f 1\ufe0f\u20e3 🏳\ufe0f\u200d🌈 🤷🏽\u200d♀\ufe0f",
        "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
        "می\u200cخواهم",
        "क\u094d\u200dष",
        "שלום \u200f(abc)\u200e",
        "Привет, мир: SQL и Python",
        "αβγ, Δx = 5 μm, λ-calculus",
        "葛\U000e0100城",
        "東京タワー３３３メートル",
        "សួស្តី\u200bពិភពលោក",
    ],
)
def test_what_languages_need_stays(text: str) -> None:
    assert tricks.tricks(text) == []
    assert tricks.cleaned(text) == text


def test_columns_count_by_kind() -> None:
    counts = tricks.measure(pa.array(["plain", "a\u200bb\u200bc", "\u202ex", "p\u0430y"]))
    assert counts["invisible_characters"].tolist() == [0, 2, 0, 0]
    assert counts["bidi_controls"].tolist() == [0, 0, 1, 0]
    assert counts["mixed_script_words"].tolist() == [0, 0, 0, 1]


def test_other_detectors_read_plain_letters() -> None:
    texts = pa.array(["４１１１ １１１１", "a\u200b@b.io", "𝐡𝐢", None, "same"])
    assert tricks.folded(texts).to_pylist() == ["4111 1111", "a@b.io", "hi", None, "same"]


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("H" + "\u0300\u0316\u0345\u0352" * 2 + "i", ["stacked"]),
        ("To\u0302\u0301i \u0111a\u0323\u0302t", []),
        ("say\u2800\u2800no", ["invisible", "invisible"]),
        ("\u2813\u2811\u2800\u2807\u2815", []),
        ("a\U000e0100", ["variation"]),
        ("a\U000e01f5", ["tag"]),
    ],
)
def test_piles_of_marks_and_blanks_that_are_none(text: str, kinds: list[str]) -> None:
    assert [finding.kind for finding in tricks.tricks(text)] == kinds
