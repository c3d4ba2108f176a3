"""Words that only few authors use: k-anonymity of tokens over the authors of a batch.

A name, a number or an address that one person wrote is a rare word in any language, so this
sees what no pattern describes. Authors are counted, not records: one person who repeats
himself stays one. Counting is exact up to k with an early stop, in two hashed tables of a
fixed size: a word is rare if either table saw fewer than k authors. Two words that meet in
both tables (below 1 in 10^7 at a million words) would hide each other.
Cannot see: secrets in common words, or a word that k accounts of one person have written.

Source: Google's heavy hitters and Gboard's out-of-vocabulary words (arXiv 2404.11607) use the
same rule with differential privacy on top; here there is none.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidegate.gates.signals import surrogates
from tidegate.gates.signals.linear_regex import Regex
from tidegate.gates.signals.prints import hashes, normalised
from tidegate.gates.signals.text import Finding, joined_text

SLOTS = 1 << 22  # of each of two tables: 4 * k bytes a slot
PLACEHOLDER = r"\[[A-Z][A-Z_]{1,20}_\d{1,6}\]"
_NOBODYS = rf"\b(?:{surrogates.FORM}|{surrogates.NAMES})\b|{PLACEHOLDER}"
_WORD_OR_NOBODYS = Regex(rf"({_NOBODYS})|[\p{{L}}\p{{M}}\p{{N}}]+", utf8=True)


def column(k: int) -> str:
    """The share of a record's words that fewer than k authors use."""
    return f"rare_token_share_{k}"


class TokenAuthors:
    """Up to k authors of every word of a batch. `key` has 16 characters."""

    def __init__(self, k: int, key: str, slots: int = SLOTS) -> None:
        if k < 2 or slots & (slots - 1):
            raise ValueError("k is at least 2, and slots is a power of two")
        self.k, self.key, self._mask = k, key, np.uint64(slots - 1)
        self._authors = np.zeros((2, slots, k), dtype=np.uint32)  # 0: free

    @classmethod
    def of(
        cls, tables: Iterable[pa.Table], k: int, key: str, slots: int = SLOTS
    ) -> "TokenAuthors":
        """Counted over tables of records."""
        counted = cls(k, key, slots)
        for table in tables:
            counted.add(joined_text(table), hashes(table.column("user"), key))
        return counted

    def add(self, texts: pa.Array, authors: np.ndarray) -> None:
        """texts: one a record. authors: uint64 hashes, one a record."""
        rows, tokens = _tokens(texts, self.key)
        by = (authors[rows] >> np.uint64(32)).astype(np.uint32) | np.uint32(1)
        for table, slot in zip(self._authors, self._slots(tokens), strict=True):
            pairs = np.unique((slot << np.uint64(32)) | by)
            _fill(table, (pairs >> np.uint64(32)).astype(np.int64), pairs.astype(np.uint32))

    def rare(self, tokens: np.ndarray) -> np.ndarray:
        """Which of some hashed words fewer than k authors used. Booleans."""
        seen = [
            table[slot.astype(np.int64), self.k - 1] != 0
            for table, slot in zip(self._authors, self._slots(tokens), strict=True)
        ]
        return np.asarray(~(seen[0] & seen[1]))

    def measure(self, texts: pa.Array) -> dict[str, np.ndarray]:
        """For each record the share of its words that are rare; 0 for one without words."""
        rows, tokens = _tokens(texts, self.key)
        total = np.bincount(rows, minlength=len(texts))
        rare = np.bincount(rows, weights=self.rare(tokens), minlength=len(texts))
        share = rare / np.maximum(total, 1)
        return {column(self.k): share.astype(np.float32)}

    def find(self, text: str) -> Iterator[Finding]:
        """The rare words of one text. One that is many (as ideographs are) is rare if any is."""
        spans = list(_words(text))
        if not spans:
            return
        words = pa.array([text[start:end] for start, end in spans])
        rows, tokens = _tokens(words, self.key)
        rare = np.zeros(len(spans), dtype=bool)
        np.logical_or.at(rare, rows, self.rare(tokens))
        for i in np.flatnonzero(rare):
            yield Finding("rare", *spans[i])

    def _slots(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return tokens & self._mask, (tokens >> np.uint64(32)) & self._mask


def _tokens(texts: pa.Array, key: str) -> tuple[np.ndarray, np.ndarray]:
    """The row and the hash of every word, but for what masking has put there."""
    said = pc.replace_substring_regex(texts.fill_null(""), _NOBODYS, " ")
    words = pc.split_pattern(normalised(said), " ")
    flat = words.flatten()
    rows = np.repeat(np.arange(len(texts)), pc.list_value_length(words).to_numpy())
    there = pc.not_equal(flat, "").to_numpy(zero_copy_only=False)
    encoded = flat.dictionary_encode()
    values = hashes(encoded.dictionary, key)
    codes = encoded.indices.to_numpy()
    return rows[there], values[codes[there]]


def _words(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of each word, in characters, but for what masking has put there."""
    data, at, chars = text.encode("utf-8", "replace"), 0, 0
    for match in _WORD_OR_NOBODYS.finditer(data):
        chars += len(data[at : match.start()].decode())
        start, at = chars, match.end()
        chars += len(match.group().decode())
        if match.group(1) is None:
            yield start, chars


def _fill(table: np.ndarray, slots: np.ndarray, authors: np.ndarray) -> None:
    """Give each slot the authors it has not got, while it has room. Pairs are distinct."""
    for _ in range(table.shape[1]):
        fresh = (table[slots, -1] == 0) & ~(table[slots] == authors[:, None]).any(axis=1)
        slots, authors = slots[fresh], authors[fresh]
        if not len(slots):
            return
        first = np.unique(slots, return_index=True)[1]
        free = (table[slots[first]] == 0).argmax(axis=1)
        table[slots[first], free] = authors[first]
