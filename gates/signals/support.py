"""Support: how many authors say the same of an answer.

What is learned from feedback is a preference: a correction, or a thumbs down without one.
Its supporters are the authors, its own included, who say the same of nearly the same answer
to nearly the same question (MinHash, Jaccard similarity from about 0.5): for a correction,
those who gave it or voted it up; for a thumbs down, those who voted that answer down or
corrected it.

Cannot see: agreement in other words; whether two accounts are two people.
"""

import numpy as np

from tidegate.gates.signals.feedback import Voices

DOUBT = "preference_doubt"


def measure(voices: Voices, records: int) -> dict[str, np.ndarray]:
    """1 / supporters of a record's preference; 0 for a record that states none."""
    authors = np.unique(voices.author, return_inverse=True)[1].astype(np.int64)
    says = voices.exchange * 2 + voices.toward
    pairs = np.unique(says * (len(authors) + 1) + authors)
    supporters = np.bincount(pairs // (len(authors) + 1))
    doubt = np.zeros(records, dtype=np.float32)
    doubt[voices.row[voices.teaches]] = 1 / supporters[says[voices.teaches]]
    return {DOUBT: doubt}
