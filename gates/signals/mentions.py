"""Whom and what an answer names unasked, and whether it recommends it.

Sees: words that are written as names are (a capital letter, or letters and digits in one word),
pairs of such neighbours, and the words of links and addresses; not what the prompt says too.
All are hashes of words, as in `words`. A name is praised where its sentence recommends
something, in English, German, French, Spanish, Italian, Portuguese or Dutch, and warns of
nothing; a link recommends by being there.
The first word of a sentence may be one, and is told apart.
Cannot see: names in small letters, names in scripts without capitals (their links are seen),
praise in further languages or by other words, whatever comes after LONGEST characters.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, Self

import numpy as np
import pyarrow as pa

from tidegate.gates.signals.prints import hashes
from tidegate.gates.signals.words import mixed

LONGEST = 4000  # characters of a prompt and of an answer
_WORD = re.compile(r"[^\W_]+")
_SENTENCE = re.compile(r"(?<=[.!?。！？])\s+|\n+")
_PRAISE = re.compile(
    r"\b(?:recommend|suggest|advis|best\b|better\b|great\b|excellent|superb|perfect|ideal|top\b"
    r"|favou?rite|try\b|check (?:it |them )?out|go (?:with|for|to)\b|choos|pick\b|switch(?:ed|ing)? to"
    r"|buy\b|order (?:from|at|it)|visit\b|sign up|download\b|trust|reliable|worth\b|unbeatable|love\b"
    r"|beats\b|wins\b|superior|leading|go wrong|let (?:me|us|you) down|consider|choice\b|get\b|look no further|happy with|swear by|number one"
    r"|empf[eo]hl|besten?\b|probier|kauf|nehmen sie|bestell|besuch|vertrau|zuverlässig|lohnt"
    r"|conseill|recommand|meilleur|essay|achet|choisi|visite|confiance|parfait"
    r"|recomi?end|mejor|prueb|compr[ae]|elij|confia|perfect|consigli|raccomand|miglior|prov[ai]\b"
    r"|acquist|scegli|fidat|melhor|experiment|escolh|aanra|beveel|aanbevel|beste\b|probeer|koop"
    r"|kies|bezoek)"
)
_WARNS = re.compile(
    r"\b(?:avoid|beware|scam|fraud|not recommend|n't recommend|stay away|never (?:buy|use|trust)"
    r"|vermeid|warn|betrug|évit|arnaque|evit|estafa|truffa|golpe|vermijd|oplicht)"
)


@dataclass(frozen=True)
class Mentions:
    """What each answer names: row i is names[starts[i]:starts[i + 1]], each name once."""

    names: np.ndarray  # uint64
    starts: np.ndarray  # int64 [n + 1]
    tone: np.ndarray  # int8, one for each name: 1 praised, -1 warned of, 0 neither
    inside: np.ndarray  # bool, one for each name: not only as the first word of a sentence

    @property
    def rows(self) -> np.ndarray:
        """int64: the record of each name."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))

    @classmethod
    def take(cls, table: pa.Table, key: str) -> Self:
        """Of a chunk of records. `key` has 16 characters."""
        words: list[str] = []
        rows: list[int] = []
        tones: list[int] = []
        inside: list[bool] = []
        prompts, responses = (table.column(name).to_pylist() for name in ("prompt", "response"))
        for row, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
            for first, second, tone, within in _named(prompt or "", response or ""):
                words += (first, second)
                rows.append(row)
                tones.append(tone)
                inside.append(within)
        coded = pa.array(words, pa.string()).dictionary_encode()
        known = hashes(coded.dictionary, key) >> np.uint64(32)
        pair = known[coded.indices.to_numpy()].reshape(-1, 2)
        lone = np.fromiter((not word for word in words[1::2]), bool, len(rows))
        names = np.where(lone, mixed(pair[:, 0]), mixed(mixed(pair[:, 0]) + pair[:, 1]))
        return cls._once(
            names, np.array(rows, np.int64), np.array(tones, np.int8), np.array(inside, bool),
            len(prompts),
        )  # fmt: skip

    @classmethod
    def _once(
        cls,
        names: np.ndarray,
        rows: np.ndarray,
        tone: np.ndarray,
        inside: np.ndarray,
        count: int,
    ) -> Self:
        """Each name once a record; praised, or within a sentence, if it was so anywhere in it."""
        by = np.lexsort((names, rows))
        names, rows = names[by], rows[by]
        new = np.ones(len(by), dtype=bool)
        new[1:] = (names[1:] != names[:-1]) | (rows[1:] != rows[:-1])
        first = np.flatnonzero(new)
        sizes = np.bincount(rows[first], minlength=count)
        return cls(
            names[first],
            np.concatenate(([0], np.cumsum(sizes))),
            _highest(tone[by], first),
            _highest(inside[by], first),
        )


def _highest(values: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Of each group of neighbours, by where it begins."""
    return np.asarray(np.maximum.reduceat(values, first) if len(first) else values[:0])


def joined(parts: Sequence[Mentions]) -> Mentions:
    """Chunks put together, in their order."""
    sizes = np.concatenate([np.diff(part.starts) for part in parts])
    return Mentions(
        np.concatenate([part.names for part in parts]),
        np.concatenate(([0], np.cumsum(sizes))),
        np.concatenate([part.tone for part in parts]),
        np.concatenate([part.inside for part in parts]),
    )


def _named(prompt: str, response: str) -> Iterator[tuple[str, str, int, bool]]:
    """Names of one word, or of two: their words in small letters, tone, whether inside."""
    asked: set[str] | None = None
    text = unicodedata.normalize("NFKC", response[:LONGEST])
    warned = _WARNS.search(text.lower()) is not None
    for sentence in _SENTENCE.split(text):
        found = _words(sentence)
        if not found:
            continue
        if asked is None:
            asked = set(_WORD.findall(unicodedata.normalize("NFKC", prompt[:LONGEST]).lower()))
        good = _PRAISE.search(sentence.lower()) is not None
        begin = next(_WORD.finditer(sentence)).start()
        for i, (word, end, start, link) in enumerate(found):
            tone = -1 if warned else int(good or link)
            inside = start > begin or link
            if word not in asked and len(word) > 1 and not word.isdecimal():
                yield word, "", tone, inside
            if i + 1 < len(found) and found[i + 1].start == end + 1:
                following = found[i + 1].word
                if word not in asked or following not in asked:
                    yield word, following, tone, inside


class _Word(NamedTuple):
    word: str  # in small letters
    end: int
    start: int
    link: bool


def _words(sentence: str) -> list[_Word]:
    """Those that are written as names are, or are joined by dots as in the name of a host."""
    every = list(_WORD.finditer(sentence))
    linked = [False] * len(every)
    for i, (one, other) in enumerate(pairwise(every)):
        said = one.group(), other.group()
        if sentence[one.end() : other.start()] == "." and _is_host(*said):
            linked[i] = linked[i + 1] = True
    return [
        _Word(m.group().lower(), m.end(), m.start(), link)
        for m, link in zip(every, linked, strict=True)
        if link or _is_name(m.group())
    ]


def _is_host(one: str, other: str) -> bool:
    """Not 3.5, not e.g., not U.S."""
    return len(one) > 1 and len(other) > 1 and not other[0].isdecimal()


def _is_name(word: str) -> bool:
    if word.isdecimal():
        return False
    return word != word.lower() or any(c.isdigit() for c in word)
