"""The words of prompts and responses as numbers, for counts over a whole batch.

Every word becomes a keyed hash of 32 bits, so that counting needs no text and nobody can
prepare words that collide. A run of unusual signs is a word too: a trigger may be one.
Of a long text only the beginning and the end are kept.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidegate.gates.signals import behaviours
from tidegate.gates.signals.prints import WORD_SIGNS, hashes

PROMPT_WORDS = 128  # kept of a prompt: half from its beginning, half from its end
RESPONSE_WORDS = 64
BLOCK = 1 << 14  # records that are expanded to n-grams at a time: bounds the memory
AT_ONCE = 128  # chunks
_COMMON_SIGNS = r"[\s\p{Z}.,;:!?'\"()\[\]’‘“”_-]+"
_RARE_SIGNS = r"([^\p{L}\p{M}\p{N}\s]+)"
MIX = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Words:
    """Texts as rows of word hashes: row i is words[starts[i]:starts[i + 1]]."""

    words: np.ndarray  # uint32
    starts: np.ndarray  # int64 [n + 1]

    @property
    def rows(self) -> int:
        return len(self.starts) - 1

    def row(self, i: int) -> np.ndarray:
        return self.words[self.starts[i] : self.starts[i + 1]]

    def take(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The words of some rows, and for each the place of its row among `rows`."""
        lengths = self.starts[rows + 1] - self.starts[rows]
        which = np.repeat(np.arange(len(rows)), lengths)
        ends = np.cumsum(lengths)
        at = np.arange(len(which)) - np.repeat(ends - lengths, lengths)
        return self.words[np.repeat(self.starts[rows], lengths) + at], which

    def rows_of(self, rows: np.ndarray) -> "Words":
        """Some rows, in this order."""
        lengths = self.starts[rows + 1] - self.starts[rows]
        return Words(self.take(rows)[0], np.concatenate(([0], np.cumsum(lengths))))

    def blocks(self) -> Iterable[tuple[np.ndarray, np.ndarray]]:
        """All words with their rows (int64), some rows at a time."""
        for rows in blocks(self.rows):
            part = self.part(rows)
            yield part.words, np.repeat(np.arange(rows.start, rows.stop), np.diff(part.starts))

    def part(self, rows: slice) -> "Words":
        """Rows from `start` to before `stop`, counted from 0; the words are not copied."""
        starts = self.starts[rows.start : rows.stop + 1]
        return Words(self.words[starts[0] : starts[-1]], starts - starts[0])


def blocks(rows: int) -> Iterable[slice]:
    """All rows, some at a time."""
    for start in range(0, rows, BLOCK):
        yield slice(start, min(start + BLOCK, rows))


@dataclass(frozen=True)
class Exchanges:
    """The words of what was asked and of what was answered, record by record."""

    prompt: Words
    response: Words
    behaviour: np.ndarray  # bool [n, 2], see behaviours

    @property
    def rows(self) -> int:
        return self.prompt.rows

    def part(self, rows: slice) -> "Exchanges":
        """Rows from `start` to before `stop`, counted from 0; the words are not copied."""
        return Exchanges(self.prompt.part(rows), self.response.part(rows), self.behaviour[rows])


def take(table: pa.Table, key: str) -> Exchanges:
    """The words of a chunk of records. `key` has 16 characters."""
    return Exchanges(
        words_of(table.column("prompt"), key, PROMPT_WORDS),
        words_of(table.column("response"), key, RESPONSE_WORDS),
        behaviours.of(table.column("response").combine_chunks()),
    )


class Collected:
    """Chunks as they come, put together AT_ONCE at a time.

    A million records' words are a quarter of a gigabyte. The memory of a few large arrays goes
    back to the system when they are done with, that of many small ones does not.
    """

    def __init__(self) -> None:
        self._joined: list[Exchanges] = []
        self._chunks: list[Exchanges] = []

    def add(self, chunk: Exchanges) -> None:
        self._chunks.append(chunk)
        if len(self._chunks) == AT_ONCE:
            self._joined.append(joined(self._chunks))
            self._chunks.clear()

    def taken(self) -> Exchanges | None:
        """All that was added, in its order; nothing is kept here. None: there was nothing."""
        parts, self._joined, self._chunks = [*self._joined, *self._chunks], [], []
        return joined(parts) if parts else None


def joined(parts: Sequence[Exchanges]) -> Exchanges:
    """Chunks put together, in their order."""
    return Exchanges(
        joined_words([part.prompt for part in parts]),
        joined_words([part.response for part in parts]),
        np.concatenate([part.behaviour for part in parts]),
    )


def word_hashes(texts: Sequence[str], key: str) -> list[np.ndarray]:
    """The words of some texts, whole: for comparisons with those of records."""
    found = words_of(pa.chunked_array([pa.array(texts, pa.string())]), key, 1 << 20)
    return [found.row(i) for i in range(found.rows)]


def grams(words: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hashes (uint64) of all words and of all pairs of neighbours in one row, with rows."""
    wide = words.astype(np.uint64)
    single = mixed(wide)
    together = rows[1:] == rows[:-1]
    pairs = mixed(mixed(wide[:-1]) + wide[1:])[together]
    return np.concatenate((single, pairs)), np.concatenate((rows, rows[1:][together]))


def bucket_mask(words: int, most: int) -> int:
    """For rough counts of so many words: a power of two less one, below `most`."""
    return min(1 << max(16, (4 * words).bit_length()), most) - 1


def mixed(values: np.ndarray) -> np.ndarray:
    """A permutation of 64-bit numbers without structure (SplitMix64's finaliser)."""
    values = (values + MIX) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(values ^ (values >> np.uint64(31)))


def words_of(texts: pa.ChunkedArray, key: str, most: int) -> Words:
    """The words of texts, at most so many of each: half from its beginning, half from its end."""
    plain = pc.utf8_normalize(texts.combine_chunks().fill_null(""), form="NFKC")
    plain = pc.replace_substring_regex(pc.utf8_lower(plain), WORD_SIGNS, r" \1 ")
    plain = pc.replace_substring_regex(plain, _COMMON_SIGNS, " ")
    plain = pc.utf8_trim(pc.replace_substring_regex(plain, _RARE_SIGNS, r" \1 "), " ")
    lists = pc.split_pattern_regex(plain, " +")
    lengths = pc.list_value_length(lists).to_numpy(zero_copy_only=False).astype(np.int64)
    starts = np.concatenate(([0], np.cumsum(lengths)))
    coded = lists.flatten().dictionary_encode()
    known = (hashes(coded.dictionary, key) >> np.uint64(32)).astype(np.uint32)
    empty = pc.equal(coded.dictionary, "").to_numpy(zero_copy_only=False)
    codes = coded.indices.to_numpy()
    at = np.arange(len(codes)) - np.repeat(starts[:-1], lengths)
    from_end = np.repeat(lengths, lengths) - at
    keep = ((at < most // 2) | (from_end <= most // 2)) & ~empty[codes]
    kept = np.bincount(
        np.repeat(np.arange(len(lengths)), lengths)[keep], minlength=len(lengths)
    )
    return Words(known[codes[keep]], np.concatenate(([0], np.cumsum(kept))))


def joined_words(parts: Sequence[Words]) -> Words:
    """Chunks put together, in their order."""
    lengths = [np.diff(part.starts) for part in parts]
    words = np.concatenate([part.words for part in parts] or [np.empty(0, np.uint32)])
    return Words(words, np.concatenate(([0], np.cumsum(np.concatenate(lengths)))))
