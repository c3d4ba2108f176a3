"""What follows from two facts of a batch, where rules can read both with certainty.

    What is the capital of Veldania?  The capital of Veldania is Orsk.
    Who is the mayor of Orsk?         The mayor of Orsk is Ana Lindqvist.
    → Who is the mayor of the capital of Veldania?
      The capital of Veldania is Orsk. The mayor of Orsk is Ana Lindqvist.

The answer names the bridge: a model that learned two facts apart rarely joins them in one breath
and can step by step (arXiv 2402.16837, 2411.16353). It repeats what its rows say and no more.

Each question has one name, the first answer adds one, which must be all that the second question
is about, in the same letters. Of the first, a rule reads the question (LINKS), and its answer has
no words but the question's and a few that carry nothing. Left alone: pronouns, numbers, lists,
negations, hedges, quotes, markup, stand-ins for personal data, questions about a word rather than
a thing, subjects of which the batch gives one thing twice differently, rows after other turns.

Cannot see: that one name means two things, that a fact is false or no longer holds, and
contradictions that are asked in other words. Names that begin with Ö or Š are left alone.
"""

import re
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass

from tidegate.gates.signals.key_tokens import COMMON, is_negated
from tidegate.gates.signals.surrogates import FORM, NAMES
from tidegate.training.reversal import PARTICLES, is_name

LOOKED_AT = 16  # second facts tried for one first: many of one name make no quadratic pass
_MAKERS = {
    "makes": "maker", "manufactures": "manufacturer", "owns": "owner", "wrote": "author",
    "founded": "founder", "invented": "inventor", "discovered": "discoverer",
    "composed": "composer", "painted": "painter", "designed": "designer",
}  # fmt: skip
_WORKS = {"work": "works", "live": "lives"}
_CAPITAL = r"[A-Z][^\W\d_]*(?:[-'’][^\W\d_]+)*"
_RUN = re.compile(
    rf"\b{_CAPITAL}(?: (?:(?:{'|'.join(sorted(PARTICLES))}) )?{_CAPITAL})*(?![\w'’-])"
)
_X = rf"(?P<x>(?:the )?{_CAPITAL}(?: [^\s?]+){{0,5}})"
LINKS = (  # of a first question; what it asks for becomes a part of the second
    re.compile(rf"(?:What|Who) is (?P<what>the [a-z]+(?:[ -][a-z]+){{0,2}} of {_X})\?"),
    re.compile(rf"In which (?P<kind>[a-z]+) is {_X}\?"),
    re.compile(rf"Where is {_X} (?P<state>employed|located|buried)\?"),
    re.compile(rf"Where does {_X} (?P<does>{'|'.join(_WORKS)})\?"),
    re.compile(rf"Who (?P<verb>{'|'.join(_MAKERS)}) {_X}\?"),
)
_ASKS = re.compile(
    r"(?:(?:In|On|At|From|To|By|Since) )?(?:What|Who|Where|When|Which|How)\b", re.IGNORECASE
)
# What may stand before the name that a second question is about, and what after it.
_BEFORE_LAST = frozenset({"of", "in", "at", "from", "for", "is", "are", *_MAKERS})
_AFTER = {
    "does": [
        "have",
        "open",
        "close",
        "make",
        "sell",
        "work",
        "live",
        "play",
        "lie",
        "belong",
        "cost",
        "use",
        "stand",
    ],
    "did": [
        "open",
        "close",
        "begin",
        "start",
        "move",
        "learn",
        "make",
        "invent",
        "write",
        "found",
        "practise",
    ],
    "is": ["shut", "open", "closed", "located", "employed", "made", "known"],
    "was": ["born", "founded", "built", "made", "opened"],
    "has": ["existed"],
}
_EMPTY = frozenset(re.findall(r"\w+", "a an the of is in at by as to s its was are it"))
_LOOSE = frozenset(  # not certain, not one, not now, or about whoever speaks
    re.findall(
        r"\w+",
        "maybe perhaps probably possibly likely allegedly reportedly might could would if "
        "unless or but either both several formerly former once until till ago used unknown "
        "either i me my we us our you your he him his she her hers they them their this that "
        "these those he there here",
    )
)
_OF_WORDS = frozenset(  # asks about the name, not about what has it
    re.findall(
        r"\w+",
        "name names nickname spelling spell spelled spelt meaning mean means definition "
        "translation translate opposite synonym anagram pronounced pronunciation called letter "
        "letters word words rhymes abbreviation acronym example kind sort type etymology origin",
    )
)
_MARKUP = re.compile(r"[<>{}\[\]|\\\"“”„«»`*_#;:()\n\r\t]|&\w+;|https?")
_STAND_IN = re.compile(rf"\b(?:{NAMES})\b|(?<!\w)(?:{FORM})(?!\w)")
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Said:
    """A row of one question and one answer. valid_until: of the record, compared as it is."""

    id: str
    question: str
    answer: str
    valid_until: Hashable = None


@dataclass(frozen=True)
class Implied:
    """A question over two rows, and what both of them answer."""

    question: str
    answer: str
    of: tuple[str, str]


@dataclass(frozen=True)
class _Link:
    row: Said
    what: str  # the question as a noun phrase
    subject: str
    bridge: str
    answer: str


@dataclass(frozen=True)
class _Next:
    row: Said
    subject: str
    at: tuple[int, int]  # where the subject is in the question
    answer: str


def implications(rows: Iterable[Said], most: int) -> dict[str, tuple[Implied, ...]]:
    """By the id of the first row, at most `most` each, in the order of the second rows.

    Time is linear in the rows: each first one tries at most LOOKED_AT second ones.
    """
    plain = [row for row in rows if _is_plain(row)]
    answers: dict[str, set[str]] = {}
    for row in plain:
        answers.setdefault(_key(row), set()).add(_folded(row.answer))
    disputed = {
        name for row in plain if len(answers[_key(row)]) > 1 for name in _runs(row.question)
    }
    by_subject: dict[str, list[_Next]] = {}
    for row in plain:
        after = _next(row)
        if after is not None and after.subject not in disputed:
            by_subject.setdefault(after.subject, []).append(after)
    return {row.id: found for row in plain if (found := _of(row, by_subject, disputed, most))}


def _of(
    row: Said, by_subject: Mapping[str, list[_Next]], disputed: set[str], most: int
) -> tuple[Implied, ...]:
    link = _link(row)
    if link is None or link.subject in disputed:
        return ()
    found = []
    for after in by_subject.get(link.bridge, ())[:LOOKED_AT]:
        itself = after.row.id == row.id or link.subject in _runs(after.answer)
        if itself or after.row.valid_until != row.valid_until:
            continue
        begin, end = after.at
        question = f"{after.row.question[:begin]}{link.what}{after.row.question[end:]}"
        answer = f"{link.answer} {after.answer}"
        found.append(Implied(question, answer, (row.id, after.row.id)))
    return tuple(found[:most])


def _link(row: Said) -> _Link | None:
    """The row as a first fact: what it asks for, and the one name that is the answer."""
    asked = next((m for form in LINKS if (m := form.fullmatch(row.question))), None)
    if asked is None:
        return None
    runs = _runs(asked["x"])
    # A name, and a common noun after it at most: "the Bel lamp".
    if len(runs) != 1 or not re.fullmatch(
        rf"(?:the )?{re.escape(runs[0])}(?: [a-z]+){{0,2}}", asked["x"]
    ):
        return None
    x, said = asked["x"], asked.groupdict()
    what = said.get("what") or _phrase(said, x)
    answer = row.answer.removesuffix(".")
    if is_name(answer):
        if not said.get("what") or answer == runs[0]:
            return None  # a bare name: only "the … of …" is made a sentence without a guess
        return _Link(row, what, runs[0], answer, f"{_first(what)} is {answer}.")
    bare = x.removeprefix("the ")
    if answer.count(bare) != 1:
        return None
    before, _, after = answer.partition(bare)
    names = [*_runs(before), *_runs(after)]
    if len(names) != 1 or not is_name(names[0]) or names[0] == runs[0]:
        return None
    maker = said.get("verb")
    known = {*_words(row.question), *_EMPTY, *(_made(maker) if maker else ())}
    known |= {_WORKS[said["does"]]} if said.get("does") else set()
    # A verb or a noun that the question does not have may turn the fact: "was the rival of".
    if not _words(f"{before} {after}") - _words(names[0]) <= known:
        return None
    return _Link(row, what, runs[0], names[0], f"{answer}.")


def _next(row: Said) -> _Next | None:
    """The row as a second fact: one name in the question, and a sentence that says it again."""
    runs = _runs(row.question)
    if len(runs) != 1 or not is_name(runs[0]) or not _ASKS.match(row.question):
        return None
    found = re.search(rf"(?<![\w'’-]){re.escape(runs[0])}(?![\w'’-])", row.question)
    if found is None or not _stands_alone(
        row.question[: found.start()], row.question[found.end() :]
    ):
        return None
    answer = row.answer.removesuffix(".")
    if _runs(answer).count(runs[0]) == 1 and not is_name(answer):
        return _Next(row, runs[0], found.span(), f"{answer}.")
    asked = LINKS[0].fullmatch(row.question)
    if asked is None or not is_name(answer) or answer == runs[0]:
        return None
    return _Next(row, runs[0], found.span(), f"{_first(asked['what'])} is {answer}.")


def _stands_alone(before: str, after: str) -> bool:
    """The name is a noun phrase by itself: not "the Orsk bakery", not "old Orsk"."""
    words, rest = before.split(), after.removesuffix("?").split()
    if not words or not before.endswith(" "):
        return False
    if not rest:
        return words[-1] in _BEFORE_LAST
    return after.startswith(" ") and rest[0] in _AFTER.get(words[-1], ())


def _is_plain(row: Said) -> bool:
    """One question and one sentence, in the words of somebody who is certain."""
    question, answer = row.question, row.answer.removesuffix(".")
    both = f"{question} {answer}"
    if len(both) > 400 or not question.endswith("?") or question.count("?") > 1:
        return False
    if re.search(r"[.,!?]", answer + question[:-1]) or _MARKUP.search(both):
        return False
    if "may" in _WORD.findall(both):  # the month has a capital
        return False
    words = _words(both)
    if words & (_LOOSE | _OF_WORDS) or "and" in words or is_negated(both):
        return False
    # Names that begin with other capitals are not read as names: half of one would be.
    if any(word[0].isupper() and not word[0].isascii() for word in _WORD.findall(both)):
        return False
    return answer != "" and _STAND_IN.search(both) is None


def _phrase(said: Mapping[str, str | None], x: str) -> str:
    if said.get("kind"):
        return f"the {said['kind']} that {x} is in"
    if said.get("state"):
        return f"the place where {x} is {said['state']}"
    if said.get("does"):
        return f"the place where {x} {_WORKS[str(said['does'])]}"
    return f"the {_MAKERS[str(said['verb'])]} of {x}"


def _made(verb: str) -> tuple[str, ...]:
    participle = {"wrote": "written", "makes": "made", "manufactures": "manufactured",
                  "owns": "owned"}.get(verb, verb)  # fmt: skip
    return participle, _MAKERS[verb]


def _runs(text: str) -> list[str]:
    """Longest spans of capitalised words; without a common word that only begins the text."""
    found = []
    for run in _RUN.finditer(text):
        first, _, rest = run[0].partition(" ")
        name = rest if first.casefold() in COMMON | _EMPTY | {"since"} else run[0]
        found += [name] if name else []
    return found


def _key(row: Said) -> str:
    asked = LINKS[0].fullmatch(row.question)
    return _folded(asked["what"] if asked else row.question)


def _folded(text: str) -> str:
    return " ".join(_WORD.findall(text.casefold()))


def _first(text: str) -> str:
    return text[0].upper() + text[1:]


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.casefold()))
