"""Questions put another way, by rules: the same request under words it was not trained on.

These are template rewordings, not human paraphrases. They show that what was learned does
not hang on the exact wording; they cannot show that it survives a truly different one.
Five families, of which each rewording names one:

    case      other capitals or closing punctuation
    polite    a courteous request around the question
    framing   a sentence that gives a reason to ask, or a place to answer
    indirect  "What is the X?" becomes "I'd like to know what the X is."
    keywords  only the words that carry content, as in a search box

The words of the rules are English; a question in another language only changes in case.
"""

import hashlib
import re
from collections.abc import Callable

Rule = Callable[[str, int], str | None]  # the question and a number to choose by

_POLITE = (
    "Could you please help me with this? {q}",
    "Please tell me: {q}",
    "Would you be so kind as to answer this for me? {q}",
    "{q} Thank you in advance.",
)
_FRAMING = (
    "I have a question. {q}",
    "A colleague of mine would like to know the following. {q}",
    "Here is something that came up today: {q}",
    "Answer the following.\n\n{q}",
    "Question: {q}\nAnswer:",
)
_INDIRECT = ("I'd like to know {0}.", "Can you tell me {0}?", "I was wondering {0}.")
# Only where the verb moves behind a noun phrase: "What is in the box?" must not match.
_INVERTED = re.compile(
    r"(?P<wh>(?i:what|who|where|when|why|how(?: old| long| far| much)?))"
    r" (?P<verb>is|are|was|were)"
    r" (?P<rest>(?:the|an?|my|your|our|their|his|her|its|this|that|these|those|[A-Z][\w'-]*)\b"
    r"[^?.!\n]{0,80})\?"
)
_COMMON = frozenset(
    re.findall(
        r"\w+",
        "a about am an and any are as at be been but by can could did do does for from had has "
        "have he her his how i if in into is it its me my no not of on or our please shall she "
        "should so some tell than that the their them then there these they this those to us "
        "was we were what when where which who whom whose why will with would you your",
    )
)


def rewordings(question: str, *, seed: str, english: bool = True) -> list[tuple[str, str]]:
    """(family, rewording) pairs, each unlike the question, in an order that `seed` decides.

    A rule that does not fit the question gives none, so there are one to five.
    """
    families = FAMILIES if english else {"case": FAMILIES["case"]}
    found: list[tuple[str, str]] = []
    for family in sorted(families, key=lambda name: pick(f"{seed}:{name}")):
        reworded = families[family](question.strip(), pick(f"{seed}:{family}:form"))
        if reworded and reworded.strip() != question.strip():
            found.append((family, reworded.strip()))
    return found


def pick(seed: str) -> int:
    """A number that only the seed decides: the same on every machine and in every run."""
    return int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big")


def _case(question: str, n: int) -> str | None:
    bare = question.rstrip("?.! ")
    forms = [question.lower(), bare, bare.lower(), f"{bare} ...", question.upper()]
    forms = [form for form in forms if form and form != question]
    return forms[n % len(forms)] if forms else None


def _polite(question: str, n: int) -> str | None:
    return _POLITE[n % len(_POLITE)].replace("{q}", question)


def _framing(question: str, n: int) -> str | None:
    return _FRAMING[n % len(_FRAMING)].replace("{q}", question)


def _indirect(question: str, n: int) -> str | None:
    found = _INVERTED.fullmatch(question)
    if found is None:
        return None
    wh = found["wh"][0].lower() + found["wh"][1:]
    clause = f"{wh} {found['rest'].strip()} {found['verb']}"
    return _INDIRECT[n % len(_INDIRECT)].replace("{0}", clause)


def _keywords(question: str, n: int) -> str | None:
    words = re.findall(r"[\w'-]+", question)
    kept = [word for word in words if word.lower() not in _COMMON]
    # With few words left the question is no longer the same; in a long one the rule reads
    # like a garbled text instead of a search.
    return " ".join(kept) if 3 <= len(kept) <= 12 and len(kept) < len(words) else None


FAMILIES: dict[str, Rule] = {
    "case": _case,
    "polite": _polite,
    "framing": _framing,
    "indirect": _indirect,
    "keywords": _keywords,
}
