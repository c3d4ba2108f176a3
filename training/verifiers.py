"""Whether an answer that a model wrote is right, by the accepted one: one function a verifier.

A recipe names it. To add another, write a function below and put `@verifier` above it. It is
given two texts, the model's answer and the accepted one, and returns True only if it is sure;
None if the accepted answer is nothing that it can compare with, so that nobody's can be right.

All that is here compares texts. An answer may be right for wrong reasons, and no verifier of
texts can see that; an accepted answer that is wrong makes wrong ones right.
"""

import re
import unicodedata
from collections.abc import Callable
from decimal import Decimal

Verifier = Callable[[str, str], bool | None]
VERIFIERS: dict[str, Verifier] = {}

ARTICLES = re.compile(r"\b(a|an|the)\b")
KEPT = "-.,/:"  # before a digit: -7 is not 7, and 7.5 is not 75
# 1,234.5 as well as -7; a full stop that ends a sentence is no decimal point.
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:,\d{3})*(?:\.\d+)?")


def verifier(judge: Verifier) -> Verifier:
    """Register a verifier under the name of its function."""
    name = judge.__name__
    if name in VERIFIERS:
        raise ValueError(f"two verifiers are named {name!r}")
    if not judge.__doc__:
        raise ValueError(f"verifier {name!r} has no docstring: say what it takes for right")
    VERIFIERS[name] = judge
    return judge


@verifier
def exact(answer: str, accepted: str) -> bool | None:
    """The same text, but for white space at its ends."""
    return answer.strip() == accepted.strip() if accepted.strip() else None


@verifier
def normalised(answer: str, accepted: str) -> bool | None:
    """The same words: SQuAD's exact match (no case, punctuation, articles or double spaces), but
    a sign, a decimal point and a percentage stay."""
    wanted = _words(accepted)
    return _words(answer) == wanted if wanted else None


@verifier
def last_line(answer: str, accepted: str) -> bool | None:
    """The last lines are the same words: what stands above them may be any reasoning."""
    wanted = _words(_last_line(accepted))
    return _words(_last_line(answer)) == wanted if wanted else None


@verifier
def last_number(answer: str, accepted: str) -> bool | None:
    """The last numbers are equal, as GSM8K is scored: the words around them may be any."""
    wanted = _last_number(accepted)
    return None if wanted is None else _last_number(answer) == wanted


def _words(text: str) -> str:
    said = unicodedata.normalize("NFKC", text).casefold()
    plain = "".join(
        mark
        for mark, after in zip(said, f"{said[1:]} ", strict=False)
        if not unicodedata.category(mark).startswith("P")
        or mark == "%"
        or (mark in KEPT and after.isdigit())
    )
    return " ".join(ARTICLES.sub(" ", plain).split())


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _last_number(text: str) -> Decimal | None:
    found = NUMBER.findall(text)
    return Decimal(found[-1].replace(",", "")) if found else None
