"""What every connector hands over: numbered rows, each a value or the reason there is none."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

MAX_ROW = 4 * 1024 * 1024  # bytes of one row as JSON; nobody reads, and no model learns, more


class IngestError(Exception):
    """A drop, or the place to put it, cannot be used at all: a usage error, and what would do."""


class Unreadable(Exception):
    """One row cannot be read, and why. The reason never repeats what is in the row."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Row(NamedTuple):
    line: int  # from 1: the line, the row of the Parquet file, or the trace in order of time
    value: dict[str, Any] | Unreadable


class Source(NamedTuple):
    """One file or experiment of a drop. `rows` starts from the beginning at each call."""

    name: str
    rows: Callable[[], Iterator[Row]]
    ours: bool = False  # written by this home: its authors are pseudonyms already
