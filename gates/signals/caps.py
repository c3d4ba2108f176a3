"""How much of the batch comes from one author, and from one source.

Sees: the place of each record among its author's and its source's, in an order that is
hashed with a secret, so that nobody chooses which records are the first.
Cannot see: one person behind many accounts.
"""

import numpy as np

from tidegate.gates.signals.copies import rank
from tidegate.gates.signals.prints import Prints

AUTHOR_RANK, AUTHOR_SHARE = "author_rank", "author_share"
SOURCE_RANK, SOURCE_SHARE = "source_rank", "source_share"


def fair(author: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Places from 1 in which everybody's first record comes before anybody's second.

    Who sends a thousand records takes no more places under a shared cap than who sends two.
    """
    places = np.empty(len(order), dtype=np.float64)
    places[np.lexsort((order, rank(author, order)))] = np.arange(1, len(order) + 1)
    return places


def measure(prints: Prints, received: int) -> dict[str, np.ndarray]:
    """Ranks from 1, and ranks as shares of the batch as it was received."""
    author, source = rank(prints.author, prints.order), rank(prints.source, prints.order)
    total = np.float32(max(received, 1))
    return {
        AUTHOR_RANK: author,
        AUTHOR_SHARE: author / total,
        SOURCE_RANK: source,
        SOURCE_SHARE: source / total,
    }
