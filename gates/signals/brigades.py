"""Brigades: votes on one topic by which a few or new accounts outvote everybody else.

In every topic the share of thumbs up of three groups is compared with that of the others:

 * newcomers (but for those of a burst), with the established authors who voted about the same time (Mantel-Haenszel
   over strata of time, so that a product that changed for everybody is no brigade);
 * the newcomers of a burst, with the established authors who voted in it or after it;
 * authors who vote often, and mostly on this topic, with the established authors.

A difference counts if it is too large for chance (Fisher's exact test) and also for a topic
of this batch: by how much the groups differ in an ordinary topic, and how that varies, is
estimated from all topics (medians, so that a few attacked ones change little). Votes of one
author on one topic count for less than so many authors, by their measured correlation.
All p-values of the batch are adjusted together (Benjamini and Hochberg 1995).

Sees: brigades of about a tenth of a topic's votes, or smaller ones in a burst.
Cannot see: fewer votes; votes by established accounts, one each (stolen or bought ones);
anything where hardly any author is established; a change of which no established author
has spoken yet looks like a brigade. A brigade on most topics at once is taken for the habit
of newcomers.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import false_discovery_control, fisher_exact, median_abs_deviation, norm

RECORDS, SPAN = 3, 0.25  # votes, and share of the batch's time between first and last
OFTEN = 3  # votes of one author on one topic
LEAST = 5.0  # votes of a group, and of those it is compared with
STRATA, OF_A_STRATUM = 8, 10  # of time; established votes
BURST, SHARPNESS, CONTEMPORARIES = 8, 10.0, 10  # votes, log likelihood ratio, votes
TOPICS, VARIATION = 20, 0.02  # topics from which variation is estimated; its least value
PRIOR, PRIOR_CELLS = 0.2, 10  # correlation of one author's votes, before any were seen
LEAST_CORRELATION = 0.1
FOR_AUTHORS = 3.0  # authors: one author's votes on a topic never count for more


@dataclass(frozen=True)
class Votes:
    """One row a vote."""

    topic: np.ndarray  # int64, from 0
    up: np.ndarray  # bool
    author: np.ndarray  # any
    time: np.ndarray  # int64
    established: np.ndarray | None = None  # bool; None: told from the votes


@dataclass(frozen=True)
class Compared:
    """A group and those it was compared with, in one topic."""

    rows: np.ndarray  # of the group
    difference: float  # of the shares of thumbs up
    error: float  # its standard error, if there were none
    p: float  # Fisher's


def brigades(votes: Votes) -> np.ndarray:
    """-log10 of the adjusted p-value of the most suspicious group that a vote is in.

    All votes of the group, whichever way they go: if only one side of it were dropped, the
    rest would be as one-sided. 0 for votes in no group that could be tested. float32.
    """
    score = np.zeros(len(votes.up), dtype=np.float32)
    authors = np.unique(votes.author, return_inverse=True)[1]
    cells = np.unique(votes.topic * (len(authors) + 1) + authors, return_inverse=True)[1]
    weight = _weights(votes, cells)
    established = votes.established
    size = np.bincount(cells)[cells]
    # Who votes about everything is a busy user; who votes about one thing may be hired.
    often = (size >= OFTEN) & (2 * size >= np.bincount(authors)[authors])
    if established is None:
        established = established_by(authors, votes.time) & ~often
    else:
        often &= ~established
    known = np.sort(votes.time[established])

    by_topic = np.argsort(votes.topic, kind="stable")
    cuts = np.flatnonzero(np.diff(votes.topic[by_topic])) + 1
    newcomers, bursts, frequent = [], [], []
    for rows in np.split(by_topic, cuts):
        rows = rows[np.argsort(votes.time[rows], kind="stable")]
        up, w, at = votes.up[rows], weight[rows], votes.time[rows]
        busy, new = often[rows], ~(established | often)[rows]
        either = np.flatnonzero(~new)
        one = np.zeros(len(either), int)
        frequent.append(_compared(rows[either], up[either], w[either], busy[either], one))
        rows, up, w, at, new = rows[~busy], up[~busy], w[~busy], at[~busy], new[~busy]
        burst, others = _burst(at, new, known)
        if len(burst):
            both = np.r_[burst, others]
            one = np.zeros(len(both), int)
            mine = np.arange(len(both)) < len(burst)
            bursts.append(_compared(rows[both], up[both], w[both], mine, one))
        rest = np.setdiff1d(np.arange(len(rows)), burst)
        strata = _strata(at[rest], ~new[rest])
        newcomers.append(_compared(rows[rest], up[rest], w[rest], new[rest], strata))

    usual = _usual(newcomers)
    tests = [(c, _p(c, *usual)) for c in newcomers + bursts if c is not None]
    usual = _usual(frequent)
    tests += [(c, _p(c, *usual)) for c in frequent if c is not None]
    if not tests:
        return score
    adjusted = false_discovery_control(np.array([p for _, p in tests]))
    for (found, _), p in zip(tests, adjusted, strict=True):
        own = score[found.rows]
        score[found.rows] = np.maximum(own, -np.log10(max(float(p), 1e-300)))
    return score


def established_by(authors: np.ndarray, time: np.ndarray) -> np.ndarray:
    """Which votes are of authors who are no newcomers, by this batch alone: booleans.

    authors: codes from 0. An author with votes far enough apart was not made for one attack,
    or by somebody patient.
    """
    if not len(time):
        return np.zeros(0, dtype=bool)
    count = np.bincount(authors)
    first, last = np.full(len(count), np.iinfo(np.int64).max), np.zeros(len(count), np.int64)
    np.minimum.at(first, authors, time)
    np.maximum.at(last, authors, time)
    long = last - first >= max(SPAN * float(time.max() - time.min()), 1)
    return np.asarray(((count >= RECORDS) & long)[authors])


def _weights(votes: Votes, cells: np.ndarray) -> np.ndarray:
    """What each vote counts, given how much the votes of one author on one topic agree."""
    if not len(cells):
        return np.zeros(0)
    of_topic = np.bincount(votes.topic)
    share = (np.bincount(votes.topic, votes.up) + 1) / (of_topic + 2)
    spread = (share * (1 - share))[votes.topic]
    rest = (votes.up - share[votes.topic]) / np.sqrt(spread)
    size = np.bincount(cells)
    pairs = size * (size - 1)
    alike = np.bincount(cells, rest) ** 2 - np.bincount(cells, rest**2)
    several = pairs > 0
    found = alike[several] / pairs[several]
    correlation = (found.sum() + PRIOR * PRIOR_CELLS) / (several.sum() + PRIOR_CELLS)
    correlation = np.clip(correlation, LEAST_CORRELATION, 1.0)
    each = np.minimum(1 / (1 + (size - 1) * correlation), FOR_AUTHORS / size)
    return np.asarray(each[cells])


def _strata(at: np.ndarray, established: np.ndarray) -> np.ndarray:
    """Strata of time with equally many established votes, from 0. Times are sorted."""
    known = at[established]
    count = int(np.clip(len(known) // OF_A_STRATUM, 1, STRATA))
    edges = np.quantile(known, np.arange(1, count) / count) if count > 1 else []
    return np.searchsorted(edges, at, side="right")


def _compared(
    rows: np.ndarray, up: np.ndarray, w: np.ndarray, group: np.ndarray, stratum: np.ndarray
) -> Compared | None:
    """None where either side is too small."""
    if w[group].sum() < LEAST or w[~group].sum() < LEAST:
        return None
    count = stratum.max() + 1

    def total(mask: np.ndarray) -> np.ndarray:
        return np.bincount(stratum[mask], w[mask], minlength=count)

    n, m = total(group), total(~group)
    x, y = total(group & up), total(~group & up)
    both = (n > 0) & (m > 0)
    if not both.any():
        return None
    n, m, x, y = n[both], m[both], x[both], y[both]
    weight = n * m / (n + m)
    share = (x + y) / (n + m)
    # Half a vote against: a normal bound on few votes is too sure of itself.
    error = np.sqrt((weight * share * (1 - share)).sum() + 0.25) / weight.sum()
    table = np.rint([[x.sum(), (n - x).sum()], [y.sum(), (m - y).sum()]]).astype(int)
    return Compared(
        rows=rows[group],
        difference=float((weight * (x / n - y / m)).sum() / weight.sum()),
        error=float(error),
        p=float(fisher_exact(table)[1]),
    )


def _usual(compared: list[Compared | None]) -> tuple[float, float]:
    """How much the groups differ in an ordinary topic, and how that varies over topics."""
    found = [c for c in compared if c is not None]
    if len(found) < TOPICS:
        return 0.0, VARIATION
    differences = np.array([c.difference for c in found])
    errors = np.array([c.error for c in found])
    usual = float(np.median(differences))
    spread = median_abs_deviation(differences, scale="normal")
    extra = spread**2 - float(np.median(errors**2))
    return usual, max(float(np.sqrt(max(extra, 0.0))), VARIATION)


def _p(found: Compared, usual: float, variation: float) -> float:
    z = abs(found.difference - usual) / np.hypot(found.error, variation)
    return max(found.p, float(2 * norm.sf(z)))


def _burst(at: np.ndarray, new: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of newcomers in the densest window of time, and of those to compare them with.

    Chosen by times alone (likelihood ratio of a scan, Kulldorff 1997), never by the votes:
    the test that follows is as good as if the window had been given. Times are sorted.
    known: times of the batch's established votes: they say how long a window is, so that day
    and night weigh alike.
    """
    rows = np.flatnonzero(new)
    times, total = at[rows], len(rows)
    shares = np.searchsorted(known, times) / max(len(known), 1)
    best, window = SHARPNESS, None
    size = BURST
    while size <= total:
        length = shares[size - 1 :] - shares[: total - size + 1] + 1 / max(len(known), 1)
        ratio = _ratio(size, total, np.minimum(length, 1.0))
        i = int(ratio.argmax())
        if ratio[i] > best:
            best, window = float(ratio[i]), (i, i + size)
        size += max(size // 4, 1)
    if window is None:
        return rows[:0], rows[:0]
    others = np.flatnonzero(~new)
    later = others[at[others] >= times[window[0]]]
    if len(later) < CONTEMPORARIES:
        later = others[-CONTEMPORARIES:]
    return rows[window[0] : window[1]], later


def _ratio(size: int, total: int, length: np.ndarray) -> np.ndarray:
    """Log likelihood ratio of `size` of `total` votes within windows of such lengths."""
    inside = size * np.log(size / (total * length))
    rest = total - size
    outside = rest * np.log(rest / (total * np.maximum(1 - length, 1e-12))) if rest else 0.0
    return np.asarray(np.where(size > total * length, inside + outside, 0.0))
