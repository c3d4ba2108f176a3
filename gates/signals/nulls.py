"""Empirical nulls: what the signals say of a trusted batch, where nothing is to be found.

The batch is split in two, again and again: what one half knows, the other is measured with.
A record counts by the worst that any split said of it, so the records are as many
independent trials as there are records, not more, and the interval is not too narrow.

Sees: how high a signal goes without an attack, in traffic like the trusted batch's.
Cannot see: traffic that differs from it, and a batch twice as large as a half (groups grow
with the batch). Poison in the trusted batch raises what is found; so a policy says how far
a limit may follow it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tidegate.gates.signals import copies, triggers
from tidegate.gates.signals.known import DOMAIN, Known
from tidegate.gates.signals.prints import Prints
from tidegate.gates.signals.words import Exchanges, Words
from tidegate.gates.statistics.proportions import clopper_pearson

JUDGED = (triggers.TRIGGER, copies.FLOOD)  # the columns that limits are found for
USUAL = 0.99  # of the records stay within what is called usual


class Null(NamedTuple):
    """The lowest limit of a column that is shown to err rarely enough; None: none is."""

    limit: float | None
    hits: int  # records above it in any split
    records: int
    low: float  # exact interval of the share of hits (Clopper & Pearson 1934)
    high: float
    largest: float  # value seen


def of(
    said: Exchanges, prints: Prints, key: str, seeds: Sequence[int], rate: float
) -> tuple[dict[str, Null], float]:
    """The null of each column of JUDGED, and the share of unknown words that is usual.

    rate: of clean records that a limit may hit, at worst, with 97.5 % confidence.
    Raises ValueError for fewer than two records, or no seed.
    """
    if said.rows < 2 or not seeds:
        raise ValueError("at least two records and one seed are needed to split a batch")
    worst = {name: np.zeros(said.rows, dtype=np.float32) for name in (*JUDGED, DOMAIN)}
    for seed in seeds:
        order = np.random.default_rng(seed).permutation(said.rows)
        halves = order[: said.rows // 2], order[said.rows // 2 :]
        for judged, rest in (halves, halves[::-1]):
            known = Known.of(rows_of(said, rest), prints.rows(rest), key)
            mine, copied = rows_of(said, judged), prints.rows(judged)
            found = triggers.measure(mine, known) | copies.measure(copied, known)
            found[DOMAIN] = known.unknown(mine)
            for name, column in worst.items():
                column[judged] = np.maximum(column[judged], found[name])
    nulls = {name: null(worst[name], rate) for name in JUDGED}
    return nulls, float(np.quantile(worst[DOMAIN], USUAL, method="higher"))


def null(worst: np.ndarray, rate: float) -> Null:
    """From one number a record; higher is more suspicious. NaN raises ValueError."""
    if not np.isfinite(worst).all():
        raise ValueError("a record of the trusted batch could not be measured")
    values = np.sort(worst)[::-1]
    n, limit = len(values), None
    hits, (low, high) = 0, clopper_pearson(0, len(values))
    for value in np.unique(values)[::-1]:
        above = int((values > value).sum())
        bounds = clopper_pearson(above, n)
        if bounds[1] > rate:
            break
        limit, hits, (low, high) = float(value), above, bounds
    return Null(limit, hits, n, low, high, float(values[0]))


def rows_of(said: Exchanges, rows: np.ndarray) -> Exchanges:
    """The words of some records, in this order."""
    return Exchanges(_rows(said.prompt, rows), _rows(said.response, rows), said.behaviour[rows])


def _rows(text: Words, rows: np.ndarray) -> Words:
    lengths = text.starts[rows + 1] - text.starts[rows]
    return Words(text.take(rows)[0], np.concatenate(([0], np.cumsum(lengths))))
