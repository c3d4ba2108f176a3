"""Contradictions: two records about the same, whose answers cannot both be true.

About the same are two records
 * whose questions are nearly the same: the words (without endings, and without those that only
   hold a sentence together) have a Jaccard similarity above `questions`, and one question has no
   word of its own;
 * or whose exchanges are: the words of question and answer together have a similarity above
   `exchanges`, and not each has a topic of its own (a name, or a word that is both asked and
   answered). Of such pairs only numbers and dates are compared.
In both cases numbers, dates and negation of the questions agree, and so does what was said
before them. Alike questions are all found, not only likely ones (prefix filtering; Bayardo, Ma &
Srikant 2007); alike exchanges by words that at most POSTED others use with the same unit.

Two answers differ when
 * each has a number, date or name that the other lacks, of a unit that both have: "three
   months" against "four months"; "at 9" against "at 9, on Sundays at 10" is no difference;
 * one begins with a yes and the other with a no;
 * one is negated, the other is not, and their words are otherwise nearly the same.

Within a batch those records are named that not more authors stand behind than behind what they
contradict: one voice against many does not take the many with it.
Cannot see: what is said of the same in other words; answers that differ in other words ("blue",
"green") or over several records; values of different units. Answers that hold for the asker
only, such as where a parcel is, look like contradictions.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from tidegate.gates.signals.key_tokens import DATE, NAME, NEGATION, NUMBER
from tidegate.gates.signals.statements import KIND, Statements

LEARNED, BATCH, LATER = "contradicts_learned", "contradicts_batch", "later_than_learned"
NEWER, DATED = 1, 2  # what LATER says: said later; says that it holds from a later time on
MOST = 64  # different answers to one question that are compared, the most frequent ones
POSTED = 500
ALIKE = 0.6  # Jaccard similarity of answers that differ in their negation alone
FRAME = 0.5  # share of the shorter answer's other words, where names are compared
Set = frozenset[int]


class Alike(NamedTuple):
    """From which similarity on, exclusive, two records are about the same; see above."""

    questions: float
    exchanges: float  # 1: only questions are compared


class Reading(NamedTuple):
    """What an answer can be held to. Equal readings are the same answer."""

    units: tuple[int, ...]
    tokens: tuple[int, ...]
    words: Set
    names: Set
    leads: int
    negated: bool


class Against(NamedTuple):
    """The nearest record that one contradicts."""

    row: int  # its place, among the learned or in the batch
    similarity: float
    differs: int  # in what, bits by kind: key_tokens.KINDS


@dataclass(frozen=True)
class Found:
    """What was found about the records of a batch, by their places in it."""

    learned: Mapping[int, Against]
    batch: Mapping[int, Against]
    later: Mapping[int, int]  # NEWER or DATED, of those in `learned`

    def columns(self, said: Statements) -> dict[str, np.ndarray]:
        """The similarity of the nearest record that each contradicts; 0 where there is none,
        NaN for a record that is too long to be examined."""
        made = {name: np.zeros(said.rows, np.float32) for name in (LEARNED, BATCH, LATER)}
        for name, found in ((LEARNED, self.learned), (BATCH, self.batch)):
            for row, against in found.items():
                made[name][row] = against.similarity
            made[name][~said.examined] = np.nan
        for row, value in self.later.items():
            made[LATER][row] = value
        return made


@dataclass(frozen=True, eq=False)
class _Answer:
    """One reading of one question, and the records that have it."""

    apart: int
    asked: Set
    reading: Reading
    rows: list[int]

    @cached_property
    def exchange(self) -> Set:
        return self.asked | self.reading.words

    @cached_property
    def topics(self) -> Set:
        return (self.asked & self.reading.words) | self.reading.names

    @cached_property
    def units(self) -> set[int]:
        return {unit for unit in self.reading.units if unit & int(KIND) in (NUMBER, DATE)}


class _Opposed(NamedTuple):
    other: _Answer
    similarity: float
    differs: int


def find(said: Statements, learned: Statements | None, alike: Alike) -> Found:
    """Which records contradict what was learned, or each other.

    said, learned: hashed with the same key.
    """
    new = _answers(said)
    batch = {
        row: against
        for answer, against in _outvoted(_opposed(new, new, alike), said.author)
        for row in answer.rows
    }
    before: dict[int, Against] = {}
    later: dict[int, int] = {}
    if learned is not None:
        for answer, others in _opposed(new, _answers(learned), alike).items():
            time = {
                id(one): max(int(learned.time[r]) for r in one.other.rows) for one in others
            }
            nearest = max(others, key=lambda one: (one.similarity, time[id(one)]))
            newest = max(nearest.other.rows, key=lambda row: (learned.time[row], -row))
            for row in answer.rows:
                before[row] = Against(newest, nearest.similarity, nearest.differs)
                if said.time[row] > max(time.values()):
                    later[row] = DATED if said.dated[row] else NEWER
    return Found(before, batch, later)


def difference(one: Reading, other: Reading) -> int:
    """In which kinds (bits) two answers to one question differ; 0: both may be true."""
    found = 0
    if one.leads * other.leads < 0:
        found |= 1 << NEGATION
    if one.negated != other.negated and _jaccard(one.words, other.words) >= ALIKE:
        found |= 1 << NEGATION
    ours, theirs = _by_unit(one), _by_unit(other)
    for unit in ours.keys() & theirs.keys():
        kind = unit & int(KIND)
        each = ours[unit] - theirs[unit] and theirs[unit] - ours[unit]
        if each and (kind != NAME or _framed(one, other)):
            found |= 1 << kind
    return found


def _answers(said: Statements) -> list[_Answer]:
    """The different answers to each question, at most MOST of them."""
    found: dict[tuple[int, Set], dict[Reading, list[int]]] = defaultdict(dict)
    for place in np.flatnonzero(said.taught & said.examined):
        row = int(place)
        question = int(said.apart[row]), frozenset(said.asked.row(row).tolist())
        reading = Reading(
            tuple(said.units.row(row).tolist()),
            tuple(said.tokens.row(row).tolist()),
            frozenset(said.words.row(row).tolist()),
            frozenset(said.names.row(row).tolist()),
            int(said.leads[row]),
            bool(said.negated[row]),
        )
        found[question].setdefault(reading, []).append(row)
    return [
        _Answer(apart, asked, reading, rows)
        for (apart, asked), readings in found.items()
        for reading, rows in sorted(readings.items(), key=lambda one: -len(one[1]))[:MOST]
    ]


def _opposed(
    new: list[_Answer], old: list[_Answer], alike: Alike
) -> dict[_Answer, list[_Opposed]]:
    """Each answer of `new` that contradicts some of `old`, with those."""
    found: dict[_Answer, dict[_Answer, _Opposed]] = defaultdict(dict)
    every = ((1 << NUMBER) | (1 << DATE) | (1 << NAME) | (1 << NEGATION), _same_question)
    facts = ((1 << NUMBER) | (1 << DATE), _same_exchange)
    for (kinds, pairs), above in ((every, alike.questions), (facts, alike.exchanges)):
        for one, other, similarity in pairs(new, old, above) if above < 1 else ():
            differs = difference(one.reading, other.reading) & kinds
            known = found[one].get(other) if one in found else None
            if differs and (known is None or known.similarity < similarity):
                found[one][other] = _Opposed(other, similarity, differs)
    return {one: list(others.values()) for one, others in found.items()}


Pairs = Iterator[tuple[_Answer, _Answer, float]]


def _same_question(new: list[_Answer], old: list[_Answer], above: float) -> Pairs:
    often = Counter(word for answer in old for word in answer.asked)
    posted: dict[tuple[int, int], set[tuple[int, Set]]] = defaultdict(set)
    by_question: dict[tuple[int, Set], list[_Answer]] = defaultdict(list)
    for answer in old:
        question = answer.apart, answer.asked
        if question not in by_question:
            for word in _rarest(answer.asked, above, often):
                posted[answer.apart, word].add(question)
        by_question[question].append(answer)
    for one in new:
        near = {
            question
            for word in _rarest(one.asked, above, often)
            for question in posted.get((one.apart, word), ())
        }
        for question in near:
            similarity = _jaccard(one.asked, question[1])
            if similarity > above and (one.asked <= question[1] or one.asked >= question[1]):
                for other in by_question[question]:
                    yield one, other, similarity


def _rarest(words: Set, above: float, often: Mapping[int, int]) -> list[int]:
    """Two sets that are more alike than `above` share one of these of their words."""
    by = sorted(words, key=lambda word: (often.get(word, 0), word))
    return by[: len(by) - int(np.ceil(above * len(by))) + 1]


def _same_exchange(new: list[_Answer], old: list[_Answer], above: float) -> Pairs:
    posted: dict[tuple[int, int, int], list[_Answer]] = defaultdict(list)
    for answer in old:
        for unit in answer.units:
            for word in answer.exchange:
                posted[answer.apart, unit, word].append(answer)
    for one in new:
        lists = (posted.get((one.apart, u, w), []) for u in one.units for w in one.exchange)
        near = {other for found in lists if len(found) <= POSTED for other in found}
        for other in near:
            similarity = _jaccard(one.exchange, other.exchange)
            apart = one.topics - other.exchange and other.topics - one.exchange
            if similarity > above and not apart:
                yield one, other, similarity


def _outvoted(
    opposed: Mapping[_Answer, list[_Opposed]], author: np.ndarray
) -> Iterator[tuple[_Answer, Against]]:
    """The answers that do not have more authors than one that they contradict."""
    against = {  # the authors of all that contradict an answer
        answer: {int(author[row]) for one in others for row in one.other.rows}
        for answer, others in opposed.items()
    }
    for answer, others in opposed.items():
        equal = [one for one in others if len(against[answer]) >= len(against[one.other])]
        if equal:
            nearest = max(equal, key=lambda one: (one.similarity, -one.other.rows[0]))
            yield answer, Against(nearest.other.rows[0], nearest.similarity, nearest.differs)


def _by_unit(reading: Reading) -> dict[int, set[int]]:
    found: dict[int, set[int]] = defaultdict(set)
    for unit, token in zip(reading.units, reading.tokens, strict=True):
        found[unit].add(token)
    return found


def _framed(one: Reading, other: Reading) -> bool:
    """Whether the names are said in about the same sentence."""
    ours, theirs = one.words - one.names, other.words - other.names
    least = min(len(ours), len(theirs))
    return not least or len(ours & theirs) >= FRAME * least


def _jaccard(one: Set, other: Set) -> float:
    whole = len(one | other)
    return len(one & other) / whole if whole else 0.0
