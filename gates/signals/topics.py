"""Topics: which prompts of a batch are about the same thing, roughly.

Hashed TF-IDF and mini-batch k-means (Sculley 2010, as scikit-learn has it), learned from a
sample and then applied in chunks. The seed is fixed and the words are hashed with the key
of the batch, so the same batch always gives the same topics, and nobody can say beforehand
where a prompt will fall.
"""

import numpy as np
from scipy.sparse import csr_matrix

from tidegate.gates.signals.words import Words

BUCKETS = 1 << 12
OF_A_TOPIC = 200  # prompts, on average
MOST = 300  # topics
SAMPLE = 20_000  # prompts that the topics are learned from
CHUNK = 16_384


def topics(asked: Words) -> np.ndarray:
    """A topic for each prompt, from 0: int64."""
    count = int(np.clip(asked.rows // OF_A_TOPIC, 1, MOST))
    if count == 1:
        return np.zeros(asked.rows, dtype=np.int64)
    from sklearn.cluster import MiniBatchKMeans

    weights = _weights(asked)
    sample = np.random.default_rng(0).permutation(asked.rows)[:SAMPLE]
    fitted = MiniBatchKMeans(
        n_clusters=count, random_state=0, batch_size=2048, n_init=1, max_iter=20
    ).fit(_vectors(asked, sample, weights))
    found = np.empty(asked.rows, dtype=np.int64)
    for start in range(0, asked.rows, CHUNK):
        rows = np.arange(start, min(start + CHUNK, asked.rows))
        found[rows] = fitted.predict(_vectors(asked, rows, weights))
    return found


def _weights(asked: Words) -> np.ndarray:
    """Of each bucket of words the log of the inverse share of prompts that hold one."""
    count = np.zeros(BUCKETS)
    for words, rows in asked.blocks():
        keys = np.unique(rows.astype(np.uint64) * np.uint64(BUCKETS) + words % BUCKETS)
        count += np.bincount((keys % np.uint64(BUCKETS)).astype(int), minlength=BUCKETS)
    return np.log((asked.rows + 1) / (count + 1))


def _vectors(asked: Words, rows: np.ndarray, weights: np.ndarray) -> csr_matrix:
    """TF-IDF of length 1, float32 [rows, BUCKETS]."""
    words, which = asked.take(rows)
    bucket = (words % BUCKETS).astype(np.int64)
    made = csr_matrix(
        (weights[bucket].astype(np.float32), (which, bucket)), shape=(len(rows), BUCKETS)
    )
    norm = np.sqrt(made.multiply(made).sum(axis=1)).A1
    return made.multiply(1 / np.maximum(norm, 1e-9)[:, None]).tocsr()
