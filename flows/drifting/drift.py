"""How what has arrived differs from what the champion learned.

Shares of sources and languages, and lengths by the deciles of what was learned, are compared
by the population stability index. Words are compared by a classifier that is asked to tell
the two apart (a classifier two-sample test on hashed words and pairs of words).
Cannot see: another meaning in the same words; what was not learned because a gate refused it.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from tidegate.flows.drifting.sample import Row, arrived, learned
from tidegate.flows.home import Home
from tidegate.flows.ingest import NO_DEFAULTS
from tidegate.gates.statistics.stability import separation, stability_index
from tidegate.gates.types import Noun

ALPHA = 0.01  # of a change that is none; five are looked at
FEWEST = 50  # rows of each side: fewer tell nothing
PSI = 0.25  # the usual limit of a large shift
AUC = 0.65  # a classifier that is right so often tells new from old
CELLS, FOLDS, BUCKETS = 10, 5, 1 << 14


class Change(Noun):
    """One thing that was compared: what was seen, its limit, and whether it has drifted."""

    what: str
    seen: float
    limit: float
    drifted: bool


class Drift(Noun):
    """What was compared; nothing, and why, where there are too few rows."""

    before: int  # rows sampled
    now: int
    changes: tuple[Change, ...]
    reason: str

    @property
    def drifted(self) -> bool:
        return any(change.drifted for change in self.changes)


def drift(before: Sequence[Row], now: Sequence[Row]) -> Drift:
    """Compare two samples. Equal samples give equal answers: nothing is drawn at random."""
    if min(len(before), len(now)) < FEWEST:
        few = f"{len(before)} rows were learned and {len(now)} arrived; {FEWEST} of each tell"
        return Drift(before=len(before), now=len(now), changes=(), reason=few)
    changes = (
        _shares("sources", [r.source for r in before], [r.source for r in now]),
        _shares("languages", [r.language for r in before], [r.language for r in now]),
        _lengths("prompt lengths", [r.prompt for r in before], [r.prompt for r in now]),
        _lengths("answer lengths", [r.response for r in before], [r.response for r in now]),
        _words([_text(r) for r in before], [_text(r) for r in now]),
    )
    moved = [f"{c.what} ({c.seen:.2f}, limit {c.limit:.2f})" for c in changes if c.drifted]
    reason = f"drifted: {', '.join(moved)}" if moved else "nothing has drifted"
    return Drift(before=len(before), now=len(now), changes=changes, reason=reason)


def drift_of(
    drops: Sequence[str | Path],
    home: Home,
    model: str,
    now: datetime,
    defaults: Mapping[str, object] = NO_DEFAULTS,
) -> Drift:
    """How the drops differ from what the champion of a model line learned. Writes nothing.

    Raises IngestError as an update would, UsageError for a batch that is gone, BrokenLedger.
    """
    return drift(learned(home, model), arrived(drops, home, now, defaults))


def _shares(what: str, before: Sequence[str], now: Sequence[str]) -> Change:
    names = sorted({*before, *now})
    if len(names) < 2:
        return Change(what=what, seen=0.0, limit=PSI, drifted=False)
    at = {name: n for n, name in enumerate(names)}
    return _index(what, [at[x] for x in before], [at[x] for x in now], len(names))


def _lengths(what: str, before: Sequence[str], now: Sequence[str]) -> Change:
    old, new = (np.array([len(text) for text in texts]) for texts in (before, now))
    edges = np.unique(np.quantile(old, np.linspace(0, 1, CELLS + 1)[1:-1]))
    cells = edges.size + 1
    return _index(what, np.searchsorted(edges, old), np.searchsorted(edges, new), cells)


def _index(what: str, before: Any, now: Any, cells: int) -> Change:
    old, new = (np.bincount(side, minlength=cells).tolist() for side in (before, now))
    found = stability_index(old, new, ALPHA)
    limit = max(PSI, found.by_chance)
    return Change(what=what, seen=found.psi, limit=limit, drifted=found.psi > limit)


def _words(before: Sequence[str], now: Sequence[str]) -> Change:
    """The AUC out of fold; drifted if its lower bound is above the limit."""
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    words = HashingVectorizer(n_features=BUCKETS, ngram_range=(1, 2), alternate_sign=False)
    is_new = np.repeat([0, 1], [len(before), len(now)])
    scores = cross_val_predict(
        LogisticRegression(class_weight="balanced", max_iter=500),
        words.transform([*before, *now]),
        is_new,
        cv=StratifiedKFold(FOLDS, shuffle=True, random_state=0),
        method="decision_function",
    )
    found = separation(scores[is_new == 0].tolist(), scores[is_new == 1].tolist(), ALPHA)
    return Change(what="words", seen=found.auc, limit=AUC, drifted=found.low > AUC)


def _text(row: Row) -> str:
    return f"{row.prompt}\n{row.response}"
