"""What to look for when all is erased: pieces of the texts, ids and pseudonyms of the rows.

A text may have been kept in part (the first words of an answer, a question put in other words),
so it is cut into pieces of a few words. A piece that a record which stays says too is not looked
for: it is not this author's alone. Kept in the request's folder (0600) while the erasure runs.
"""

import html
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tidegate.flows.checking import quarantine
from tidegate.flows.erasing import state, stores
from tidegate.flows.home import Home
from tidegate.flows.intake.home_key import write_private
from tidegate.flows.tracing.record import left_out
from tidegate.flows.tracing.wanted import Wanted, named_rows
from tidegate.flows.usage import UsageError
from tidegate.gates.types import Noun

WORDS = 6  # of a piece
SHORTEST, SHORTEST_NAME = 12, 6  # characters of a piece, and of an id: less is everywhere
TEXTS = ("correction", "comment", "prompt", "response", "tags")


class Texts(Noun):
    """What is looked for, and how many pieces are not."""

    pieces: tuple[str, ...]
    shared: int

    def forms(self) -> list[bytes]:
        """Each piece as files may hold it: plain, in JSON, in HTML."""
        forms: set[bytes] = set()
        for piece in self.pieces:
            forms.update(
                text.encode()
                for text in (
                    piece,
                    json.dumps(piece)[1:-1],
                    json.dumps(piece, ensure_ascii=False)[1:-1],
                    html.escape(piece),
                )
            )
        return sorted(forms)


def place(home: Home, request: str) -> Path:
    return state.folder(home, request) / "texts.json"


def collect(home: Home, request: str, wanted: Wanted) -> Texts:
    """Gather what the rows say, before they go, beside what was gathered before."""
    path = place(home, request)
    earlier = load(home, request) if path.exists() else Texts(pieces=(), shared=0)
    pieces: set[str] = set()
    for row in _rows(home, wanted, named=True):
        pieces.update(_pieces(row))
        pieces.update(name for name in (row["id"], row["user"]) if _is_rare(name))
    pieces.update(name for name in left_out(home, wanted) if _is_rare(name))
    long = {piece for piece in pieces if len(piece) >= SHORTEST or _is_rare(piece)}
    alone = set(long)
    for row in _rows(home, wanted, named=False):
        if not alone:
            break
        said = "\n".join([*_texts(row), row["id"], row["user"]])
        alone -= {piece for piece in alone if piece in said}
    found = Texts(
        pieces=tuple(sorted({*alone, *earlier.pieces})),
        shared=max(earlier.shared, len(pieces) - len(alone)),
    )
    write_private(path, found.model_dump_json().encode(), replace=True)
    return found


def load(home: Home, request: str) -> Texts:
    path = place(home, request)
    try:
        return Texts.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValueError):
        raise UsageError(
            f"{path}: is gone or damaged; what was erased cannot be searched for any more"
        ) from None


def _rows(home: Home, wanted: Wanted, *, named: bool) -> Iterator[Mapping[str, Any]]:
    """All stored rows that are wanted, or all that are not."""
    for path in stores.row_files(home):
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=4096):
                yield from _chosen(home, pa.Table.from_batches([batch]), wanted, named)
    for digest in quarantine.batches(home):
        for table in quarantine.read(home, digest):
            yield from _chosen(home, table, wanted, named)


def _chosen(home: Home, table: Any, wanted: Wanted, named: bool) -> Iterable[Mapping[str, Any]]:
    mine = named_rows(home, table, wanted)
    found: list[Mapping[str, Any]] = table.filter(
        mine if named else pc.invert(mine)
    ).to_pylist()
    return found


def _is_rare(name: str) -> bool:
    """Whether an id is unlike words and numbers, which are in files for other reasons."""
    mixed = any(c.isdigit() for c in name) and not name.replace(".", "").isdigit()
    return " " not in name and (len(name) >= SHORTEST or (mixed and len(name) >= SHORTEST_NAME))


def _texts(row: Mapping[str, Any]) -> Iterator[str]:
    for message in row["messages"]:
        yield message["content"]
    for name in TEXTS:
        if row.get(name):
            yield row[name]


def _pieces(row: Mapping[str, Any]) -> Iterator[str]:
    for text in _texts(row):
        words = text.split(" ")
        last = max(0, len(words) - WORDS)
        for first in {*range(0, last, WORDS), last}:
            yield " ".join(words[first : first + WORDS]).strip()
