"""Fingerprints: what later counts need of a text, in a few numbers a record.

Equal fingerprints mean equal texts but for case, punctuation and white space. The hash is
keyed by the batch, so that nobody can prepare two texts that collide; the order is keyed with
a secret, so that nobody can prepare an id that comes first when a cap is full.
"""

import base64
import hmac
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

HASHES = 64  # of a MinHash signature: a Jaccard similarity is known to about 0.06
SHINGLE = 2  # words
WORD_SIGNS = r"([\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}])"  # written without spaces


@dataclass(frozen=True)
class Prints:
    """One row a record; the counts of batches (copies, clusters, ranks) need no text."""

    order: np.ndarray  # uint64, keyed hash of the id: a fair order that nobody chose
    author: np.ndarray  # uint64
    source: np.ndarray  # uint64
    prompt: np.ndarray  # uint64
    response: np.ndarray  # uint64
    minhash: np.ndarray  # uint32 [n, HASHES], of the response

    def rows(self, keep: np.ndarray) -> "Prints":
        """The fingerprints of some records."""
        return Prints(*(column[keep] for column in self._columns()))

    @staticmethod
    def empty(rows: int) -> "Prints":
        """Room for the fingerprints of so many records."""
        order, author, source, prompt, response = np.empty((5, rows), dtype=np.uint64)
        minhash = np.empty((rows, HASHES), dtype=np.uint32)
        return Prints(order, author, source, prompt, response, minhash)

    def put(self, start: int, part: "Prints") -> None:
        """Fill in the records from `start` on."""
        for whole, piece in zip(self._columns(), part._columns(), strict=True):
            whole[start : start + len(piece)] = piece

    def _columns(self) -> tuple[np.ndarray, ...]:
        return (
            self.order, self.author, self.source, self.prompt, self.response, self.minhash,
        )  # fmt: skip


def joined(parts: Sequence[Prints]) -> Prints:
    """Chunks put together, in their order."""
    return Prints(*map(np.concatenate, zip(*(part._columns() for part in parts), strict=True)))


def secret_key(secret: bytes, batch: str) -> str:
    """The 16 characters (96 bits) that key the order of one batch. `batch`: its digest."""
    keyed = hmac.digest(secret, f"order {batch}".encode(), "sha256")
    return base64.b64encode(keyed[:12]).decode()


def take(table: pa.Table, key: str, order: str | None = None) -> Prints:
    """The fingerprints of a chunk of records. `key` has 16 characters, and
    so has `order`, which keys their order; `key` if None."""
    prompt, response = (normalised(table.column(name)) for name in ("prompt", "response"))
    return Prints(
        order=hashes(table.column("id"), order or key),
        author=hashes(table.column("user"), key),
        source=hashes(table.column("source"), key),
        prompt=hashes(prompt, key),
        response=hashes(response, key),
        minhash=minhashes(response),
    )


def normalised(texts: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Lower-case words and nothing else; each ideograph is a word."""
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.combine_chunks()
    plain = pc.utf8_lower(pc.utf8_normalize(texts.fill_null(""), form="NFKC"))
    plain = pc.replace_substring_regex(plain, WORD_SIGNS, r" \1 ")
    return pc.utf8_trim(pc.replace_substring_regex(plain, r"[^\p{L}\p{M}\p{N}]+", " "), " ")


def hashes(texts: pa.Array | pa.ChunkedArray, key: str) -> np.ndarray:
    """A keyed 64-bit hash (SipHash) of each text; null counts as empty."""
    filled = texts.fill_null("")
    if isinstance(filled, pa.ChunkedArray):
        filled = filled.combine_chunks()
    values = filled.to_numpy(zero_copy_only=False).astype(object)
    return np.asarray(pd.util.hash_array(values, hash_key=key, categorize=False))


def minhashes(texts: pa.Array) -> np.ndarray:
    """Signatures of normalised texts: uint32 [n, HASHES]."""
    from daft import Series

    # Of a column and not of a data frame: that would ask for a runner, which on a node of a
    # Ray cluster is the cluster.
    found = Series.from_arrow(texts).minhash(num_hashes=HASHES, ngram_size=SHINGLE, seed=1)
    return np.asarray(found.to_arrow().flatten()).reshape(len(texts), HASHES)
