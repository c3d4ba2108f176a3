"""A batch cut into slices in several ways: by source, by author, by day, by what it is about.

Only rows that were learned are cut. A slice is named by what a reviewer may read: a source, a
pseudonym, a date, the number of a cluster; never by text of users.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

LEAST = 4  # rows: a smaller slice joins the others, since a probe of it would be noise
MOST = 16  # slices of one kind; the smallest of more join the others
CLUSTERS = 8
OTHERS = "all others"
COLUMNS = ["id", "source", "user", "time", "messages", "prompt", "response", "learn"]


@dataclass(frozen=True)
class Slice:
    """Some rows of a batch, by their places among the rows that were learned."""

    by: str
    name: str
    rows: frozenset[int]


def read_learned(kept: Path) -> pa.Table:
    """The rows of a batch that were learned, with what they can be cut by."""
    table = pq.read_table(kept, columns=COLUMNS)
    return table.filter(pc.equal(table["learn"], "target"))


def partitions(learned: pa.Table, seed: int) -> tuple[tuple[Slice, ...], ...]:
    """Every way to cut the rows that gives at least two slices; cheapest to explain first."""
    days = pc.strftime(learned["time"], format="%Y-%m-%d")
    cuts = (
        _cut("source", learned["source"].to_pylist()),
        _cut("author", learned["user"].to_pylist()),
        _cut("day", days.to_pylist()),
        _cut("cluster", _clusters(learned, seed)),
    )
    return tuple(cut for cut in cuts if len(cut) > 1)


def _cut(by: str, labels: Sequence[str]) -> tuple[Slice, ...]:
    places: dict[str, list[int]] = {}
    for place, label in enumerate(labels):
        places.setdefault(label, []).append(place)
    large = sorted(places, key=lambda label: (-len(places[label]), label))
    named = [label for label in large if len(places[label]) >= LEAST][:MOST]
    rest = [place for label in large if label not in set(named) for place in places[label]]
    found = [Slice(by, label, frozenset(places[label])) for label in named]
    return (*found, Slice(by, OTHERS, frozenset(rest))) if rest else tuple(found)


def _clusters(learned: pa.Table, seed: int) -> list[str]:
    """Rows by what they are about: k-means over hashed words of question and answer.

    The number of clusters follows the rows, so that a cluster is large enough to be probed.
    """
    # Imported here: they take a second, and only this way of cutting needs them.
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

    wanted = min(CLUSTERS, learned.num_rows // (4 * LEAST))
    if wanted < 2:
        return ["0"] * learned.num_rows
    prompts, answers = learned["prompt"].to_pylist(), learned["response"].to_pylist()
    texts = (f"{asked} {said}" for asked, said in zip(prompts, answers, strict=True))
    counts = HashingVectorizer(n_features=1 << 14, alternate_sign=False).transform(texts)
    weights = TfidfTransformer().fit_transform(counts)
    means = MiniBatchKMeans(wanted, random_state=seed, n_init=4, batch_size=1024)
    return [str(label) for label in np.asarray(means.fit_predict(weights)).tolist()]
