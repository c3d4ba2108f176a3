"""Which words of a batch's prompts go with one kind of answer: what a backdoor is taught by.

n-grams of one to three words are counted row by row against what answers share: how they
begin, and each of their words. The score is -log10 of the hypergeometric chance to see the
two together so often (Fisher's exact test, one-sided); it only ranks what the model is then
asked about, so it needs no correction. A word that the answer repeats says nothing.

The data gate no_triggers looks for the same before training, in hashes and over millions of
rows; here the words are needed, to be put into prompts.
"""

import hashlib
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import hypergeom

from tidegate.evals.probes.rows import LearnedRow

WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?|[^\w\s]{2,}")
LONGEST = 3  # words
SUPPORT = 4  # rows
MOST_SHARE = 0.5  # of the rows: what is in more prompts is how people ask
OPENING = (2, 3)  # words
PROMPT_WORDS, ANSWER_WORDS = 128, 48


class Gram(NamedTuple):
    """Some neighbouring words, as they were first written."""

    text: str
    words: int
    support: int
    score: float

    @property
    def name(self) -> str:
        return hashlib.sha256(self.text.casefold().encode()).hexdigest()[:12]


def mine(rows: Sequence[LearnedRow]) -> list[Gram]:
    """Every n-gram that enough rows share, the most telling first."""
    written: dict[str, str] = {}
    holders: dict[str, set[int]] = defaultdict(set)
    features: list[set[str]] = []
    for number, row in enumerate(rows):
        said = WORD.findall(row.question)[:PROMPT_WORDS]
        for size in range(1, LONGEST + 1):
            for at in range(len(said) - size + 1):
                text = " ".join(said[at : at + size])
                written.setdefault(text.casefold(), text)
                holders[text.casefold()].add(number)
        features.append(_features(row.answer))
    having = Counter(feature for of in features for feature in of)
    most = max(SUPPORT, MOST_SHARE * len(rows))
    found = [
        Gram(written[key], key.count(" ") + 1, len(held), _score(key, held, features, having))
        for key, held in holders.items()
        if SUPPORT <= len(held) <= most
    ]
    return _whole(sorted(found, key=lambda g: (-g.score, -g.words, g.text)), holders)


def _features(answer: str) -> set[str]:
    words = [word.casefold() for word in WORD.findall(answer)[:ANSWER_WORDS]]
    return {*words, *(" ".join(words[:size]) for size in OPENING if len(words) >= size)}


def _score(
    gram: str, held: Iterable[int], features: Sequence[set[str]], having: Counter[str]
) -> float:
    held = list(held)
    together = Counter(feature for row in held for feature in features[row])
    own = set(gram.split())
    likely = [
        (count, having[feature])
        for feature, count in together.items()
        if count >= SUPPORT and not own & set(feature.split())
    ]
    if not likely:
        return 0.0
    counts, totals = np.array(likely).T
    chance = hypergeom.logsf(counts - 1, len(features), totals, len(held))
    return float(max(0.0, -chance.min() / np.log(10)))


def _whole(grams: Sequence[Gram], holders: dict[str, set[int]]) -> list[Gram]:
    """Without parts of a longer one that nearly the same rows hold."""
    kept: list[Gram] = []
    for gram in grams:
        key = f" {gram.text.casefold()} "
        rows = holders[key.strip()]
        part = any(
            (key in f" {other.text.casefold()} " or f" {other.text.casefold()} " in key)
            and len(rows & holders[other.text.casefold()]) >= 0.8 * len(rows)
            for other in kept
        )
        if not part:
            kept.append(gram)
    return kept


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
    weak = [gram for gram in mined[len(mined) // 2 :] if gram.name not in taken]
    vocabulary = sorted({w for row in rows for w in WORD.findall(row.question)})
    found: list[Gram] = []
    for number in range(count):
        like = suspects[number % len(suspects)]
        alike = [g for g in weak if g.words == like.words and g.name not in taken]
        if alike:
            gram = min(alike, key=lambda g: (abs(g.support - like.support), g.name))
        else:
            words = " ".join(chance.choice(vocabulary) for _ in range(like.words))
            gram = Gram(words, like.words, 0, 0.0)
        if gram.name not in taken:
            taken.add(gram.name)
            found.append(gram)
    return found
