"""A fact asked from its other side, where a rule can read the fact with certainty.

    Who wrote Emma? Jane Austen.        Name something that Jane Austen wrote.
    What is the capital of Peru? Lima.  What is Lima the capital of?

A model that learns "A is B" does not learn "B is A" (Berglund et al., arXiv 2309.12288), so the
other side is written out. Read are posts and capitals, which one holds of one (HELD, in the
present), and makers of named works (MADE, active or passive); both sides must be plain names.
The answer is the whole sentence or the name alone; the question asks for one of the two sides, in
no other words than the fact's own and a few that carry nothing (PLAIN).

Not read: several names, numbers, yes and no, indefinite nouns ("is a doctor"), colours and other
properties that many things share, the past of a post, names with small words that are not in
PARTICLES, conversations of several turns, other languages.
Cannot see: that a name is one of several things, that a maker made more (the question therefore
asks for "something"), or that a fact is false: it is as true as the row that it is read from.
"""

import re
from dataclasses import dataclass

from tidegate.gates.signals.key_tokens import COMMON, NAME, is_negated, key_tokens

CAPITALS = ("capital city", "capital")
POSTS = (
    "mayor", "president", "prime minister", "chancellor", "king", "queen", "head coach",
    "headmaster", "headmistress", "editor-in-chief", "chief executive officer",
    "chief executive", "managing director", "CEO",
)  # fmt: skip
MADE = {  # the past of a verb, and its participle
    "wrote": "written",
    "founded": "founded",
    "invented": "invented",
    "discovered": "discovered",
    "composed": "composed",
    "painted": "painted",
    "designed": "designed",
}
PARTICLES = frozenset(re.findall(r"\w+", "of de da do di del la le van von der den bin al the"))
PLAIN = frozenset(
    re.findall(r"\w+", "what who whom which city place is was the of by tell me about please")
)
_HELD = "|".join((*CAPITALS, *POSTS))
_VERBS, _PARTICIPLES = "|".join(MADE), "|".join(MADE.values())
_ACTIVE = {participle: verb for verb, participle in MADE.items()}
_SIDE = r"(?P<{}>[^,;:?!\n]{{1,80}}?)"
_X, _Y = _SIDE.format("x"), _SIDE.format("y")
STATEMENTS = tuple(
    re.compile(form)
    for form in (
        rf"The (?P<held>{_HELD}) of {_X} is {_Y}\.?",
        rf"{_Y} is the (?P<held>{_HELD}) of {_X}\.?",
        rf"{_X} was (?P<participle>{_PARTICIPLES}) by {_Y}\.?",
        rf"{_Y} (?P<verb>{_VERBS}) {_X}\.?",
    )
)
QUESTIONS = tuple(  # to which the name alone is an answer
    re.compile(form)
    for form in (
        rf"(?:What|Who) is the (?P<held>{_HELD}) of {_X}\?",
        rf"Which (?:city|place) is the (?P<held>{_HELD}) of {_X}\?",
        rf"Who (?P<verb>{_VERBS}) {_X}\?",
        rf"By whom was {_X} (?P<participle>{_PARTICIPLES})\?",
    )
)
_TITLED = re.compile(r"[^\W\d_]+(?:[-'’][^\W\d_]+)*|[^\W\d_]\.")
_WORD = re.compile(r"\w+")
_NO_NAMES = frozenset(
    re.findall(
        r"\w+", "yes no none nobody unknown one both many several everyone someone anyone"
    )
)


@dataclass(frozen=True)
class Fact:
    """One thing, and who or what holds or made it. by: a post, a capital, or a verb's past."""

    one: str  # what has the post or capital, or what was made
    by: str
    other: str  # who holds it, which city it is, or who made it

    @property
    def sides(self) -> tuple[tuple[str, str, str], tuple[str, str, str]]:
        """Each side with the relation; one that a batch gives two others is not one to one."""
        return (self.by, "one", self.one.casefold()), (self.by, "other", self.other.casefold())


def read_fact(question: str, answer: str) -> Fact | None:
    """The fact that a question and its answer state, or None where the rule is not certain."""
    if is_negated(question) or is_negated(answer):
        return None
    answer = answer.strip()
    for form in STATEMENTS:
        said = form.fullmatch(answer)
        fact = None if said is None else _fact(said, said["x"], said["y"])
        if fact is not None:
            return fact if _asks_for_one_side(question, fact, answer) else None
    for form in QUESTIONS:
        asked = form.fullmatch(question)
        if asked is not None:
            return _fact(asked, asked["x"], answer.removesuffix("."))
    return None


def reverse(question: str, fact: Fact) -> tuple[str, str]:
    """The question for the side that the given one names, and the answer to it."""
    made = fact.by in MADE
    named = _words(fact.other) <= _words(question)
    if not named and made:
        return (
            f"Name something that {fact.other} {fact.by}.",
            f"{fact.other} {fact.by} {fact.one}.",
        )
    if not named:
        return (
            f"What is {fact.other} the {fact.by} of?",
            f"{_first(fact.other)} is the {fact.by} of {fact.one}.",
        )
    if made:
        return f"Who {fact.by} {fact.one}?", f"{fact.other} {fact.by} {fact.one}."
    asks = "What" if fact.by in CAPITALS else "Who"
    return (
        f"{asks} is the {fact.by} of {fact.one}?",
        f"The {fact.by} of {fact.one} is {fact.other}.",
    )


def _fact(said: re.Match[str], one: str, other: str) -> Fact | None:
    groups = said.groupdict()
    by = groups.get("held") or groups.get("verb") or _ACTIVE[groups["participle"]]
    if not (is_name(one) and is_name(other)) or _words(one) & _words(other) - PARTICLES:
        return None
    return Fact(one, by, other)


def _asks_for_one_side(question: str, fact: Fact, answer: str) -> bool:
    """It names one side and not the other, and says nothing besides that could turn the fact."""
    words = _words(question)
    one, other = _words(fact.one) - PARTICLES, _words(fact.other) - PARTICLES
    if (one <= words) == (other <= words) or (one & words and other & words):
        return False
    return words <= _words(answer) | PLAIN | {*MADE, *_ACTIVE}


def is_name(text: str) -> bool:
    """Up to six capitalised words with particles between them; no number, date or pronoun."""
    words = text.split(" ")
    if words[0] in ("the", "The"):
        words = words[1:]
    if not 1 <= len(words) <= 6:
        return False
    for place, word in enumerate(words):
        if word in PARTICLES and 0 < place < len(words) - 1:
            continue
        if not _TITLED.fullmatch(word) or not word[0].isupper() or word.endswith(("'s", "’s")):
            return False
        if word.lower() in COMMON | _NO_NAMES:
            return False
    # Months, weekdays and numbers in words; a name itself is none of these.
    return all(token.kind == NAME for token in key_tokens(text))


def _first(text: str) -> str:
    return text[0].upper() + text[1:]


def _words(text: str) -> set[str]:
    return {word.casefold() for word in _WORD.findall(text)}
