"""Questions under other words: which, what stays of them, and never a held-out wording."""

import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.drops import rows
from tests.test_evals_update import kept, record
from tidegate.evals.rewording import rewordings
from tidegate.evals.update_suite import build
from tidegate.gates.signals.key_tokens import is_negated, key_tokens
from tidegate.training.expand import names_of
from tidegate.training.paraphrase import FRAMES, LONGEST, WHAT_IS, paraphrases

ALL, FRAMED = len(FRAMES) + len(WHAT_IS), len(FRAMES)


@pytest.mark.parametrize(
    ("question", "language", "made"),
    [
        ("What is the harbour fee of Aldin 3?", "en", ALL),
        ("What is the harbour fee of Aldin 3?", None, ALL),
        ("How long does it take?", None, FRAMED),
        ("Is it far?", "en-GB", FRAMED),
        ("Is the shop open?", None, FRAMED),
        ("I live on an island. When will my kettle come?", None, FRAMED),
        ("What is the app of Ann doing?", None, FRAMED),  # without "What is" it breaks
        ("What is the town of Brae known for?", None, FRAMED),
        ("What is the price of what you sell and ship?", None, ALL),
        ("What is the fee of Brae, and why?", None, FRAMED),
        ("What are the fees of Brae allowed to be?", None, FRAMED),
        ("Descale the kettle.", "en", 0),
        ("How long\ndoes it take?", "en", 0),
        ("Why " + "so " * LONGEST + "long?", "en", 0),
        ("", "en", 0),
        ("???", None, 0),
        ("What is the fee of Brae?", "de", 0),
        ("Wie lange dauert es?", None, 0),
        ("Was ist das?", None, 0),
        ("Is het ver?", None, 0),
        ("¿Qué es eso?", None, 0),
        ("Où est la gare ?", None, 0),
        ("これは何ですか?", None, 0),
        ("Wie lange dauert es?", "de", 0),
    ],
)
def test_plain_english_questions_are_reworded(
    question: str, language: str | None, made: int
) -> None:
    found = paraphrases(question, language)
    assert len(found) == len({text.casefold() for text in found}) == made
    assert question not in found


def test_without_what_is_the_noun_phrase_stays() -> None:
    found = paraphrases("What is the fee of Aldin?", None)
    assert found[:2] == ["State the fee of Aldin.", "I need to know the fee of Aldin."]


@pytest.mark.parametrize("form", [*FRAMES, *WHAT_IS])
def test_no_template_says_anything_that_an_answer_could_hang_on(form: str) -> None:
    text = form.replace("{q}", "").replace("{0}", "")
    assert not key_tokens(text) and not is_negated(text) and not re.search(r"\d", text)


NAMES = (
    "Aldin",
    "Émile Roux",
    "the T-1000",
    "Ward 7",
    "{q}",
    "{0}",
    "O'Brien",
    "3.5%",
    "not-so",
)
PIECES = (
    "What is the", "How many", "fee", "of", "Why do", "isn't", "not", "never", "12", "3,000", "2026-05-03",
    "without", "no", *NAMES,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(words=st.lists(st.sampled_from(PIECES), min_size=1, max_size=12), n=st.integers(0, 99))
def test_no_number_name_or_negation_is_dropped_or_altered(words: list[str], n: int) -> None:
    question = f"{' '.join(words)} {n}?"

    def said(text: str) -> Counter[str]:
        return Counter(re.findall(r"\S+", text.rstrip("?.")))

    for text in paraphrases(question, "en"):
        whole = question in text
        rest = question.removeprefix("What is ").removesuffix("?")
        assert whole or rest in text, text
        lost = said(question) - said(text.replace(question, question.rstrip("?")))
        assert set(lost) <= {"What", "is"}, text
        assert is_negated(text) == is_negated(question)


@pytest.mark.parametrize("seed", range(4))
def test_what_is_held_out_has_other_words(seed: int, tmp_path: Path) -> None:
    """On the batches of the tests for suites and updates, asked about as an update asks."""
    chat = [
        {**record(0), "id": r["id"], "messages": r["messages"], "response": r["messages"][1]["content"]}
        for r in rows()
    ]  # fmt: skip
    for name, batch in (("fees", [record(i) for i in range(60)]), ("chat", chat)):
        suite = build(
            kept(tmp_path / name, batch), probes=None, out=tmp_path / f"{name}-suite", seed=seed
        )
        questions = [r["messages"][0]["content"] for r in batch]
        made = [text for question in questions for text in paraphrases(question, "en")]
        assert suite.n >= 48 and (len(made) >= 9 * 60 or name == "chat")
        assert not names_of(made) & names_of(suite.texts())
        every = [t for q in questions for s in "abcdefgh" for _, t in rewordings(q, seed=s)]
        assert not names_of(made) & names_of(every)
