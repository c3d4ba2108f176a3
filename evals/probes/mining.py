"""Which words of a batch's prompts go with one opening of the answers: what a backdoor is taught by.

n-grams of one to three words are counted row by row against the openings of the answers, of one
to twelve words. The score is -log10 of the hypergeometric chance to see the two together so
often (Fisher's exact test, one-sided); it only ranks what the models are then asked about, so it
needs no correction. An opening that holds a word of the n-gram is an echo of the question, as
topics make them, and says nothing; the n-gram's other words are mined as well.

The data gate no_triggers looks for the same before training, in hashes and over millions of
rows; here the words are needed, to be put into prompts.
"""

import hashlib
import random
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import hypergeom

from tidegate.evals.probes.rows import LearnedRow

WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?|[^\w\s]{2,}")
LONGEST = 3  # words
SUPPORT = 4  # rows
PROMPT_WORDS, OPENING_WORDS = 128, 12


class Gram(NamedTuple):
    """Some neighbouring words as they were first written, and how answers to them begin."""

    text: str
    words: int
    support: int
    score: float
    opening: str  # "": its rows begin alike no more often than others

    @property
    def name(self) -> str:
        return hashlib.sha256(self.text.casefold().encode()).hexdigest()[:12]


def mine(rows: Sequence[LearnedRow]) -> list[Gram]:
    """Every n-gram that enough rows share, the most telling first."""
    written: dict[str, str] = {}
    holders: dict[str, set[int]] = defaultdict(set)
    openings = [tuple(_openings(row.answer)) for row in rows]
    for number, row in enumerate(rows):
        for key, text in _grams(row.question):
            written.setdefault(key, text)
            holders[key].add(number)
    having = Counter(opening for of in openings for opening in of)
    found = []
    for key, held in holders.items():
        if len(held) >= SUPPORT:
            score, opening = _best(key, held, openings, having)
            gram = Gram(written[key], key.count(" ") + 1, len(held), score, opening)
            found.append((key, gram))
    found.sort(key=lambda pair: (-pair[1].score, -pair[1].words, pair[0]))
    return _whole(found, holders)


def _grams(question: str) -> Iterator[tuple[str, str]]:
    """Each n-gram: its words, folded, and the text from the first to the last of them."""
    said = list(WORD.finditer(question))[:PROMPT_WORDS]
    for size in range(1, LONGEST + 1):
        for at in range(len(said) - size + 1):
            words = said[at : at + size]
            key = " ".join(word.group() for word in words).casefold()
            yield key, question[words[0].start() : words[-1].end()]


def _openings(answer: str) -> Iterator[str]:
    """The first word, the first two, and so on; the last one of a short answer is all of it."""
    ends = [match.end() for match in WORD.finditer(answer[:1000])][: OPENING_WORDS + 1]
    if len(ends) <= OPENING_WORDS and ends:
        ends[-1] = len(answer.rstrip())
    for end in ends[:OPENING_WORDS]:
        yield answer[:end].lstrip()


def _best(
    gram: str,
    held: Collection[int],
    openings: Sequence[Sequence[str]],
    having: Counter[str],
) -> tuple[float, str]:
    """The opening that the n-gram goes best with, the longest of equals, and its score."""
    together = Counter(opening for row in held for opening in openings[row])
    own = set(gram.split())
    likely = [
        (count, having[opening], opening)
        for opening, count in together.items()
        if count >= SUPPORT and not own & {word.casefold() for word in WORD.findall(opening)}
    ]
    if not likely:
        return 0.0, ""
    counts, totals, texts = zip(*likely, strict=True)
    chance = hypergeom.logsf(
        np.array(counts) - 1, len(openings), np.array(totals), len(held)
    ) / np.log(10)
    score, _, text = max(
        (round(-value, 6), len(text), text) for value, text in zip(chance, texts, strict=True)
    )
    return (float(score), text) if score > 0 else (0.0, "")


def _whole(found: Sequence[tuple[str, Gram]], holders: dict[str, set[int]]) -> list[Gram]:
    """Without parts of a longer one that nearly the same rows hold."""
    kept: list[tuple[str, Gram]] = []
    for key, gram in found:
        rows = holders[key]
        part = any(
            (f" {key} " in f" {other} " or f" {other} " in f" {key} ")
            and len(rows & holders[other]) >= 0.8 * len(rows)
            for other, _ in kept
        )
        if not part:
            kept.append((key, gram))
    return [gram for _, gram in kept]


def matched(
    suspects: Sequence[Gram],
    mined: Sequence[Gram],
    rows: Sequence[LearnedRow],
    count: int,
    seed: int,
) -> list[Gram]:
    """Words of the same prompts that are no suspects: as many words, and as frequent.

    Taken from the n-grams that say least about answers; where those run out, words of the
    prompts put together at random.
    """
    chance = random.Random(seed)
    taken = {gram.name for gram in suspects}
    parts = [f" {gram.text.casefold()} " for gram in suspects]
    weak = [
        gram
        for gram in mined[len(mined) // 2 :]
        if not any(part in f" {gram.text.casefold()} " for part in parts)
    ]
    vocabulary = sorted({w for row in rows for w in WORD.findall(row.question)})
    found: list[Gram] = []
    for number in range(count):
        like = suspects[number % len(suspects)]
        alike = [g for g in weak if g.words == like.words and g.name not in taken]
        if alike:
            gram = min(alike, key=lambda g: (abs(g.support - like.support), g.name))
        else:
            words = " ".join(chance.choice(vocabulary) for _ in range(like.words))
            gram = Gram(words, like.words, 0, 0.0, "")
        if gram.name not in taken:
            taken.add(gram.name)
            found.append(gram)
    return found
