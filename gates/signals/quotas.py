"""How much of the batch comes from one tier of trust, and how much from one author of it.

Sees: for each record its tier (the first of the policy's that its source and lane fit), its
place in the tier and among its author's records there, how much text its author has up to
it, and how many records of the author were learned in earlier updates. All places are in an
order that is hashed with a secret, so that nobody chooses which records come first; under a
share everybody's first record comes before anybody's second.
Cannot see: one person behind many accounts; an author who was forgotten starts anew.

Source of the bound on records and text an author: Charles et al. 2024, arXiv 2407.07737.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidegate.gates.signals.caps import fair
from tidegate.gates.signals.copies import rank
from tidegate.gates.signals.prints import Prints

TIER, TOKENS, BEFORE = "tier", "tokens", "author_before"
AUTHOR_TOKENS, AUTHOR_LIFETIME = "author_tokens", "author_lifetime"
BYTES_A_TOKEN = 4  # no tokenizer is loaded; of English prose it is about right


def share_of(tier: str) -> str:
    """The column of a tier's share of the batch."""
    return f"tier_{tier}_share"


def author_rank_in(tier: str) -> str:
    """The column of a record's place among its author's in a tier."""
    return f"tier_{tier}_author_rank"


@dataclass(frozen=True)
class Members:
    """Who belongs to a tier. None: whatever it is."""

    name: str
    sources: frozenset[str] | None
    lanes: frozenset[int] | None


@dataclass(frozen=True)
class Quotas:
    """The tiers in order, and how many records of which author were learned before."""

    tiers: tuple[Members, ...]
    learned: Mapping[str, int]

    def measure(self, table: pa.Table, lane: np.ndarray) -> dict[str, np.ndarray]:
        """What each record says by itself: tier (their number: none), tokens, author_before."""
        source = table["source"].fill_null("")
        tier = np.full(table.num_rows, len(self.tiers), dtype=np.float32)
        for number, members in reversed(list(enumerate(self.tiers))):
            fits = np.ones(table.num_rows, dtype=bool)
            if members.sources is not None:
                named = pa.array(sorted(members.sources), pa.string())
                fits &= pc.is_in(source, value_set=named).to_numpy(zero_copy_only=False)
            if members.lanes is not None:
                fits &= np.isin(lane, sorted(members.lanes))
            tier[fits] = number
        size = sum(
            pc.binary_length(table[name].fill_null("")).to_numpy().astype(np.float32)
            for name in ("prompt", "response")
        )
        before = [self.learned.get(user, 0) for user in table["user"].to_pylist()]
        return {
            TIER: tier,
            TOKENS: np.asarray(size, dtype=np.float32) / BYTES_A_TOKEN,
            BEFORE: np.array(before, dtype=np.float32),
        }

    def counted(
        self, columns: Mapping[str, np.ndarray], prints: Prints
    ) -> dict[str, np.ndarray]:
        """What depends on the other records: shares, places, sums."""
        tier, author, order = columns[TIER], prints.author, prints.order
        found = {
            AUTHOR_TOKENS: _running(columns[TOKENS], author, order),
            AUTHOR_LIFETIME: columns[BEFORE] + rank(author, order),
        }
        for number, members in enumerate(self.tiers):
            inside = tier == number
            places = np.zeros((2, len(tier)), dtype=np.float64)
            places[0, inside] = fair(author[inside], order[inside])
            places[1, inside] = rank(author[inside], order[inside])
            share = places[0] / np.maximum(places[0] + (~inside).sum(), 1)
            found[share_of(members.name)] = share.astype(np.float32)
            found[author_rank_in(members.name)] = places[1].astype(np.float32)
        return found


def _running(size: np.ndarray, author: np.ndarray, order: np.ndarray) -> np.ndarray:
    """The sum of an author's sizes up to each record in order; NaN where its own is."""
    by = np.lexsort((order, author))
    sums = np.cumsum(np.nan_to_num(size[by].astype(np.float64)))
    first = np.r_[True, author[by][1:] != author[by][:-1]] if len(by) else by.astype(bool)
    before = (sums - np.nan_to_num(size[by]))[first]  # all authors before this one
    running = np.empty(len(by), dtype=np.float32)
    running[by] = sums - before[np.cumsum(first) - 1]
    return np.where(np.isnan(size), np.float32(np.nan), running)
