"""Promotions without a trigger: a new name that only little-known accounts are told to like.

Such a campaign needs no word in the prompt and never the same account twice, so neither
`triggers` nor `claims` sees it. It still has to say its name, and nobody else does. For each
name or link that enough answers bring up unasked, hardly any with a warning, and that neither
a trusted batch nor the earlier promoted ones know, the score says how surprising it is that so
many of these answers went to little-known accounts, if the name had nothing to do with the
account (hypergeometric tail, Bonferroni over names and classes of accounts). Where the answers
do not plainly recommend it, the chance must be 10^6 times smaller.

Little-known is who has at most 1, 2 or 3 records in the batch (each is tried) and, where
batches were promoted before, none in them, or (tried too) any number here and none there.
Established accounts count by records, little-known ones by heads.

Sees: MIN and more answers, the more of them the fewer other records are of such accounts: at
a quarter 15 to 20 answers suffice, at two thirds some 60.
Cannot see: where nearly every account has one record there is nobody to compare with, and
nothing is found; names that a trusted batch has; names that the prompts ask for; a campaign by
established accounts; a name in small letters. What is rightly told to newcomers alone (the
name of a welcome package) looks like a promotion until a trusted or an earlier batch has it.
"""

import numpy as np

from tidegate.gates.signals.history import History
from tidegate.gates.signals.known import GROWTH, Known, has
from tidegate.gates.signals.mentions import Mentions
from tidegate.gates.signals.triggers import surprise

PROMOTION = "promotion_score"
MIN = 8  # answers with the name: fewer teach a model little, and chance gives many
PRAISED = 0.3  # of the answers with a name that is plainly recommended
UNPRAISED = 6.0  # less for any other name: praise has more words than any list
INSIDE = 0.5  # of the answers have it within a sentence, where it is not plainly recommended
WARNED = 0.1  # of the answers warn of it, at most
ALONE = 0.8  # share of those who were told that are little-known
RECORDS = (1, 2, 3)  # at most so many in the batch: little-known


def measure(
    named: Mentions, author: np.ndarray, known: Known | None, history: History | None
) -> dict[str, np.ndarray]:
    """For each record the score of the most surprising name in it; 0 for none. float32.

    author: one number a record, equal for records of one author, hashed as `history` is.
    """
    total = len(author)
    score = np.zeros(total, dtype=np.float32)
    rows = named.rows
    values, code, count = np.unique(named.names, return_inverse=True, return_counts=True)
    praised = np.bincount(code, named.tone > 0, minlength=len(values))
    warned = np.bincount(code, named.tone < 0, minlength=len(values))
    plain = praised >= PRAISED * count
    inside = np.bincount(code, named.inside, minlength=len(values))
    good = (count >= MIN) & (warned <= WARNED * count) & (plain | (inside >= INSIDE * count))
    good &= ~_familiar(values, count, total, known, history)
    if not good.any():
        return {PROMOTION: score}
    number = np.cumsum(good) - 1
    kept = good[code]
    name, rows = number[code[kept]], rows[kept]
    classes = _little_known(author, history)
    tests = np.log10(good.sum()) + np.log10(len(classes))
    tests = tests + np.where(plain[good], 0, UNPRAISED)
    for little in classes:
        found = _surprises(name, rows, author, little) - tests
        told = little[rows]
        np.maximum.at(score, rows[told], np.maximum(found[name[told]], 0).astype(np.float32))
    return {PROMOTION: score}


def _familiar(
    values: np.ndarray,
    count: np.ndarray,
    total: int,
    known: Known | None,
    history: History | None,
) -> np.ndarray:
    """Names that are no news: a trusted batch has them, or earlier ones, about as often."""
    old = has(known.words, values) if known else np.zeros(len(values), dtype=bool)
    if history and history.rows and len(history.names):
        place = np.minimum(np.searchsorted(history.names, values), len(history.names) - 1)
        before = np.where(history.names[place] == values, history.name_rows[place], 0)
        old |= count / total <= GROWTH * before / history.rows
    return old


def _little_known(author: np.ndarray, history: History | None) -> list[np.ndarray]:
    """For each class of accounts which records are theirs: booleans."""
    codes = np.unique(author, return_inverse=True)[1]
    own = np.bincount(codes)[codes]
    if history is None or not history.rows:
        return [own <= most for most in RECORDS]
    new = ~has(history.authors, author)
    return [*(new & (own <= most) for most in RECORDS), new]


def _surprises(
    name: np.ndarray, rows: np.ndarray, author: np.ndarray, little: np.ndarray
) -> np.ndarray:
    """-log10 of the chance for each name; 0 where others were told, too."""
    names = int(name.max()) + 1
    codes = np.unique(author, return_inverse=True)[1].astype(np.int64)
    heads = len(np.unique(codes[little]))
    others = int((~little).sum())
    told = little[rows]
    pairs = np.unique(name[told] * (codes.max() + 1) + codes[rows[told]])
    together = np.bincount(pairs // (codes.max() + 1), minlength=names)
    n = together + np.bincount(name[~told], minlength=names)
    score = surprise(together, n, np.full(names, heads), heads + others)
    alone = (together >= MIN) & (together >= ALONE * n)
    # No news where the share is what chance gives: the bound is one for the upper tail only.
    return np.where(alone & (together * (heads + others) > n * heads), score, 0)
