"""Overlap with texts that must stay unseen: the items of the evaluation suites.

Sees: a run of 8 words (but for case and punctuation) that also occurs in a protected text,
and a message or answer that equals a protected text of 4 to 7 words.
Cannot see: paraphrases and translations. Boilerplate that an item shares with ordinary
text is found too.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidegate.gates.signals.prints import hashes, normalised

COLUMN = "protected_overlap"
WORDS, SHORT = 8, 4
_BASE = np.uint64(0x100000001B3)


class Protected:
    """The 8-grams of protected texts, and the short texts as wholes."""

    def __init__(self, texts: Sequence[str], key: str) -> None:
        self.key = key
        self.texts = len(texts)
        words = normalised(pa.array(list(texts), type=pa.string()))
        lengths = np.asarray(pc.list_value_length(pc.split_pattern(words, " ")))
        grams, _ = _grams(words, key)
        self.grams = np.unique(grams)
        short = words.filter(pa.array((lengths >= SHORT) & (lengths < WORDS)))
        self.wholes = np.unique(hashes(short, key))

    def measure(self, table: pa.Table, text: pa.Array) -> dict[str, np.ndarray]:
        """For each record, how many of its 8-grams, messages and answers are protected."""
        found, owner = _grams(normalised(text), self.key)
        counts = np.bincount(owner[np.isin(found, self.grams)], minlength=len(text)).astype(
            np.float32
        )
        messages = table.column("messages").combine_chunks()
        said = np.isin(
            hashes(normalised(messages.flatten().field("content")), self.key), self.wholes
        )
        whose = np.asarray(pc.list_parent_indices(messages))
        counts += np.bincount(whose[said], minlength=len(text))
        answers = hashes(normalised(table.column("response")), self.key)
        return {COLUMN: counts + np.isin(answers, self.wholes)}


def _grams(texts: pa.Array, key: str) -> tuple[np.ndarray, np.ndarray]:
    """A hash for each run of 8 words, and the number of the text that it is in."""
    lists = pc.split_pattern(texts, " ")
    owner = np.asarray(pc.list_parent_indices(lists))
    words = lists.flatten().dictionary_encode()
    codes = hashes(words.dictionary, key)[np.asarray(words.indices)]
    runs = len(codes) - WORDS + 1
    if runs <= 0:
        return np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.int64)
    grams = np.zeros(runs, dtype=np.uint64)
    for i in range(WORDS):
        grams = grams * _BASE + codes[i : i + runs]
    within = owner[:runs] == owner[WORDS - 1 :]
    return grams[within], owner[:runs][within]
