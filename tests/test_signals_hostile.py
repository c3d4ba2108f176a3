"""Text made to be slow: every detector stays linear, and nothing crashes."""

import random
import time

import pytest

from tidegate.gates.masking import Masker
from tidegate.gates.signals import personal_data, unicode_tricks
from tidegate.gates.signals.personal_data import KINDS
from tidegate.gates.signals.secret_rules import load_rules
from tidegate.gates.signals.text import LIMIT

RULES = load_rules()
SECONDS = 15  # of CPU for one record at the limit; it takes about one where nobody else works
PIECES = {
    "letters": "a", "digits": "1", "spaced digits": "1 ", "ats": "a@", "domains": "a.",
    "brackets": "(1)", "mail": "a@b.co ", "cards": "4111111111111111 ", "iban": "GB29 ",
    "cues": "meet me at ", "flats": "Apt 1 ", "names": "Abc ", "street": "1 A Street ",
    "ids": "12345678Z ", "keys": "sk-", "passwords": "my password is ", "jwt": "eyJ",
    "pem": "-----BEGIN PRIVATE KEY-----", "urls": "a://b:", "lines": "1\n",
    "no width": "\u200b", "bidi": "\u202e\u202c", "joiners": "\u200d\ufe0f",
    "mixed": "\u0430a", "tags": "\U000e0061", "nul": "\x00", "emoji": "👩\u200d",
}  # fmt: skip


@pytest.mark.parametrize("piece", PIECES.values(), ids=PIECES.keys())
def test_the_longest_record_takes_bounded_time(piece: str) -> None:
    personal_data.find("12345678Z 1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2")  # imports happen here
    text = (piece * (LIMIT // len(piece.encode()) + 1))[: LIMIT // len(piece.encode())]
    record = {
        "messages": [{"role": "user", "content": text}, {"role": "assistant", "content": "x"}],
        "correction": None,
        "comment": None,
    }
    began = time.process_time()
    unicode_tricks.tricks(text)
    personal_data.find(text)
    RULES.find(text)
    Masker(frozenset(KINDS), RULES, unicode=True).mask(record)
    assert time.process_time() - began < SECONDS


def test_random_text_never_breaks_a_detector() -> None:
    rng = random.Random(5)
    alphabet = "aZ09 @.:/-+()x\n\u200b\u202e\u0430é漢👩\U000e0041"
    for _ in range(300):
        text = "".join(rng.choices(alphabet, k=rng.randrange(120)))
        record = {
            "messages": [
                {"role": "user", "content": text},
                {"role": "assistant", "content": text},
            ],
            "correction": rng.choice((None, text)),
            "comment": None,
        }
        masked, _ = Masker(frozenset(KINDS), RULES, unicode=True).mask(record)
        assert len(masked["messages"]) == 2
