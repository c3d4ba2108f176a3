"""Rare words: authors are counted and not records, exactly up to k, in bounded memory."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tidegate.gates.checks.shared_by_many import SharedByMany, rows
from tidegate.gates.masking import Masker
from tidegate.gates.routing import RowGate
from tidegate.gates.signals.prints import hashes
from tidegate.gates.signals.rare_tokens import TokenAuthors, column
from tidegate.gates.signals.secret_rules import load_rules

KEY = "0123456789abcdef"
SLOTS = 1 << 16


def counted(*said: tuple[str, str], k: int = 3, chunk: int = 2) -> TokenAuthors:
    """From pairs of author and text, a few at a time."""
    authors = TokenAuthors(k, KEY, SLOTS)
    for start in range(0, len(said), chunk):
        part = said[start : start + chunk]
        names, texts = zip(*part, strict=True)
        authors.add(pa.array(texts), hashes(pa.array(names), KEY))
    return authors


def rare(authors: TokenAuthors, text: str) -> list[str]:
    return [text[f.start : f.end] for f in authors.find(text)]


def test_a_word_of_enough_authors_is_not_rare() -> None:
    authors = counted(("a", "the lamp"), ("b", "The Lamp!"), ("c", "lamp, the"), ("c", "Ann"))
    assert rare(authors, "The lamp of Ann") == ["of", "Ann"]


def test_one_author_who_repeats_himself_stays_one() -> None:
    authors = counted(*(("a", "kettle") for _ in range(50)), ("b", "kettle"))
    assert rare(authors, "kettle") == ["kettle"]


@pytest.mark.parametrize("k", [2, 3, 5])
def test_k_authors_are_enough_and_fewer_are_not(k: int) -> None:
    said = [(f"author{n}", "enough" if n < k else "other") for n in range(2 * k - 1)]
    authors = counted(*said, k=k)
    assert rare(authors, "enough other") == ["other"]


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_chunks_do_not_change_the_counts(chunk: int) -> None:
    rng = np.random.default_rng(4)
    said = [(f"a{rng.integers(9)}", f"w{rng.integers(40)} v{n % 7}") for n in range(200)]
    users: dict[str, set[str]] = {}
    for name, text in said:
        for word in text.split():
            users.setdefault(word, set()).add(name)
    authors = counted(*said, chunk=chunk)
    found = rare(authors, " ".join(users))
    assert found == [word for word, who in users.items() if len(who) < 3]


def test_words_of_other_scripts_are_whole() -> None:
    text = "नमस्ते दुनिया 漢字 é👩 x"
    authors = counted(*((name, text) for name in "abc"))
    assert rare(authors, text) == []
    assert rare(authors, "漢語 नमस्ते यह") == ["漢語", "यह"]


def test_the_share_is_of_words_and_stand_ins_are_none() -> None:
    authors = counted(*((name, "call me please") for name in "abc"))
    texts = ["call me please", "call Ann", "", "call [EMAIL_1] user12345@example.org", "x y"]
    shares = authors.measure(pa.array(texts))[column(3)]
    assert shares.tolist() == [0, 0.5, 0, 0, 1]


def test_masking_leaves_no_rare_word_and_keeps_the_rest() -> None:
    authors = counted(*((name, "please call me about the lamp") for name in "abc"))
    gate = RowGate("shared_by_many", SharedByMany(mask=True), (), True)
    masker = Masker.of([gate], load_rules(), authors=authors)
    record: dict[str, Any] = {
        "messages": [
            {"role": "user", "content": "Please call Ann Lee about the lamp"},
            {"role": "assistant", "content": "call Ann"},
        ],
        "correction": None,
        "comment": None,
    }
    masked, reasons = masker.mask(record)
    assert [m["content"] for m in masked["messages"]] == [
        "Please call [RARE_1] [RARE_2] about the lamp",
        "call [RARE_1]",
    ]
    assert {reason.gate for reason in reasons} == {"shared_by_many"}


def test_the_gate_wants_its_own_count() -> None:
    (rule,) = rows(SharedByMany(authors=5, max_share=0.1))
    assert (rule.column, rule.above) == ("rare_token_share_5", 0.1)


@pytest.mark.parametrize(("k", "slots"), [(1, 8), (3, 7)])
def test_a_table_that_cannot_count_is_refused(k: int, slots: int) -> None:
    with pytest.raises(ValueError, match="k is at least 2"):
        TokenAuthors(k, KEY, slots)
