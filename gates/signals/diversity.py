"""Whether what some records have in common is more than the words under suspicion."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from tidegate.gates.signals.words import Words, bucket_mask

SIZES = (8, 16, 32)
DRAWS = 200  # random groups of each size
QUANTILE, SLACK = 0.995, 1.1
OWN = 0.8  # a word that more of the group share belongs to the trigger
REST = 2  # unusual words that must be left of most prompts
UNUSUAL = 0.05  # share of records that such a word is at most in
BUCKETS = 1 << 20
MOST = 4096  # records looked at
PRIOR = 10  # records without the answer that each word is given: a rare word proves little
EXPLAINS, DECIDES = 0.25, 0.8  # share of a word's records that have the answer


@dataclass(frozen=True)
class Diversity:
    """Likeness is the mean cosine of all pairs, words weighed by how rare they are."""

    texts: Words
    count: np.ndarray  # int64, of each bucket of words: records that hold it
    weight: np.ndarray  # of each bucket of words: log of the inverse share of records
    by_chance: tuple[float, ...]  # likeness of random groups, for each of SIZES

    @classmethod
    def of(cls, texts: Words) -> Self:
        """Of a batch. The random groups are the same each time."""
        mask = bucket_mask(len(texts.words), BUCKETS)
        count = np.zeros(mask + 1, dtype=np.int64)
        for words, rows in texts.blocks():
            count += _count(words, rows, mask)
        weight = np.log((texts.rows + 1) / np.minimum(count + 1, texts.rows + 1)) + 0.01
        blank = cls(texts, count, weight.astype(np.float32), ())
        random = np.random.default_rng(0)
        by_chance = []
        for size in SIZES:
            draws = (random.integers(0, texts.rows, size) for _ in range(DRAWS))
            found = [blank.likeness(rows)[0] for rows in draws]
            by_chance.append(float(np.quantile(found, QUANTILE)))
        return cls(texts, count, blank.weight, tuple(by_chance))

    def unlike(self, rows: np.ndarray) -> bool:
        """Whether a group's texts, but for what most of them share, are as unlike as any."""
        rows = rows[:: -(-len(rows) // SIZES[-1])]
        likeness, rest = self.likeness(rows)
        size = max(i for i, least in enumerate(SIZES) if least <= max(len(rows), SIZES[0]))
        return rest >= REST and likeness <= SLACK * self.by_chance[size]

    def explained(self, group: np.ndarray, marked: np.ndarray, alike: np.ndarray) -> bool:
        """Whether other words of a group's texts bring the same answer without the mark.

        group: records with the mark and the answer; marked: all with the mark; alike: those
        with the answer and without the mark. A topic explains an answer in this way.
        """
        group, alike_step = group[:: -(-len(group) // SIZES[-1])], -(-len(alike) // MOST)
        if not len(alike):
            return False
        words, which = self.texts.take(group)
        buckets, code = np.unique(words & np.uint32(len(self.count) - 1), return_inverse=True)
        with_answer = self._holding(alike[::alike_step], buckets) * alike_step
        unmarked = self.count[buckets] - self._holding(marked, buckets)
        share = with_answer / (unmarked + PRIOR)
        # A word that alone decides the answer is another mark, and explains nothing.
        share[with_answer >= DECIDES * unmarked] = 0
        best = np.zeros(len(group))
        np.maximum.at(best, which, share[code])
        return float(best.mean()) >= EXPLAINS

    def _holding(self, rows: np.ndarray, buckets: np.ndarray) -> np.ndarray:
        """How many of some records hold a word of each of some buckets."""
        words, which = self.texts.take(rows)
        place = np.full(len(self.count), -1, dtype=np.int32)
        place[buckets] = np.arange(len(buckets))
        code = place[words & np.uint32(len(self.count) - 1)]
        keys = np.unique(which[code >= 0] * len(buckets) + code[code >= 0])
        return np.bincount(keys % len(buckets), minlength=len(buckets))

    def likeness(self, rows: np.ndarray) -> tuple[float, float]:
        """Mean cosine of pairs, and the median of unusual words, without those that nearly all share."""
        words, which = self.texts.take(rows)
        key = np.unique((words.astype(np.uint64) << np.uint64(16)) | which.astype(np.uint64))
        word, which = (key >> np.uint64(16)), (key & np.uint64(0xFFFF)).astype(np.int64)
        _, code, count = np.unique(word, return_inverse=True, return_counts=True)
        own = count[code] < OWN * len(rows)
        word, which, code = word[own], which[own], code[own]
        weight = self.weight[word & np.uint64(len(self.count) - 1)]
        norm = np.sqrt(np.bincount(which, weight**2, minlength=len(rows)))
        whole = np.bincount(code, weight / np.maximum(norm[which], 1e-9))
        there = int((norm > 0).sum())
        pairs = max(there * (there - 1), 1)
        unusual = which[weight >= -np.log(UNUSUAL)]
        rest = float(np.median(np.bincount(unusual, minlength=len(rows))))
        return (float((whole**2).sum()) - there) / pairs, rest


def _count(words: np.ndarray, rows: np.ndarray, mask: int) -> np.ndarray:
    """Of each bucket of words, how many rows hold it."""
    keys = np.unique((rows.astype(np.uint64) << np.uint64(32)) | (words & np.uint32(mask)))
    return np.bincount(keys & np.uint64(mask), minlength=mask + 1)
