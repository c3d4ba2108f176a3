"""Topics: which prompts of a batch are about the same thing, roughly.

Hashed TF-IDF and mini-batch k-means (Sculley 2010, as scikit-learn has it), learned from a
sample and then applied in chunks. The seed is fixed and the words are hashed with the key
of the batch, so the same batch always gives the same topics, and nobody can say beforehand
where a prompt will fall. What is left of the batch later on keeps the topics of the whole:
topics that moved would make the votes that are left look like other brigades.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy.sparse import csr_matrix

from tidegate.gates.signals.words import Words, joined_words

BUCKETS = 1 << 12
OF_A_TOPIC = 200  # prompts, on average
MOST = 300  # topics
SAMPLE = 20_000  # prompts that the topics are learned from
CHUNK = 16_384


@dataclass(frozen=True)
class Topics:
    """Learned from some prompts; says the topic of any."""

    weights: np.ndarray  # of each bucket of words, log of the inverse share of prompts
    model: Any  # scikit-learn's; None: everything is one topic

    @classmethod
    def of(cls, asked: Iterable[Words]) -> Self:
        """Learned from chunks of prompts, one pass."""
        count, rows = np.zeros(BUCKETS), 0
        draw = np.random.default_rng(0)
        sample: list[Words] = []
        for chunk in asked:
            rows += chunk.rows
            count += _records(chunk)
            sample.append(chunk)
            if sum(part.rows for part in sample) > 4 * SAMPLE:
                # Each prompt so far had the same chance but for the last few chunks.
                sample = [_some(joined_words(sample), draw, 2 * SAMPLE)]
        weights = np.log((rows + 1) / (count + 1))
        topics = min(rows // OF_A_TOPIC, MOST)
        if topics < 2:
            return cls(weights, None)
        from sklearn.cluster import MiniBatchKMeans

        chosen = _some(joined_words(sample), draw, SAMPLE)
        model = MiniBatchKMeans(
            n_clusters=topics, random_state=0, batch_size=2048, n_init=1, max_iter=20
        )
        return cls(weights, model.fit(_vectors(chosen, np.arange(chosen.rows), weights)))

    def __call__(self, asked: Words) -> np.ndarray:
        """A topic for each prompt, from 0: int64."""
        found = np.zeros(asked.rows, dtype=np.int64)
        if self.model is None:
            return found
        for start in range(0, asked.rows, CHUNK):
            rows = np.arange(start, min(start + CHUNK, asked.rows))
            found[rows] = self.model.predict(_vectors(asked, rows, self.weights))
        return found


def _some(asked: Words, draw: np.random.Generator, most: int) -> Words:
    """At most so many of the prompts, in their order."""
    rows = np.sort(draw.permutation(asked.rows)[:most])
    return asked.rows_of(rows)


def _records(asked: Words) -> np.ndarray:
    """Of each bucket of words, how many prompts hold one."""
    count = np.zeros(BUCKETS)
    for words, rows in asked.blocks():
        keys = np.unique(rows.astype(np.uint64) * np.uint64(BUCKETS) + words % BUCKETS)
        count += np.bincount((keys % np.uint64(BUCKETS)).astype(int), minlength=BUCKETS)
    return count


def _vectors(asked: Words, rows: np.ndarray, weights: np.ndarray) -> csr_matrix:
    """TF-IDF of length 1, float32 [rows, BUCKETS]."""
    words, which = asked.take(rows)
    bucket = (words % BUCKETS).astype(np.int64)
    made = csr_matrix(
        (weights[bucket].astype(np.float32), (which, bucket)), shape=(len(rows), BUCKETS)
    )
    norm = np.sqrt(made.multiply(made).sum(axis=1)).A1
    return made.multiply(1 / np.maximum(norm, 1e-9)[:, None]).tocsr()
