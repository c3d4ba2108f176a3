"""Whose rows are looked for: marks of records and of authors, and which rows they name."""

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from tidegate.flows.home import Home
from tidegate.flows.tracing.marks import Marker


@dataclass(frozen=True)
class Wanted:
    """Marks of the records and authors that are looked for."""

    records: frozenset[str] = frozenset()
    authors: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.records or self.authors)

    def __or__(self, other: "Wanted") -> "Wanted":
        return Wanted(self.records | other.records, self.authors | other.authors)

    def names(self, marker: Marker, record_id: str | None, pseudonym: str | None) -> bool:
        """Whether a row is one of them. None: the row does not say."""
        by_id = bool(self.records) and record_id is not None
        if by_id and marker.record(str(record_id)) in self.records:
            return True
        by_author = bool(self.authors) and pseudonym is not None
        return by_author and marker.author(str(pseudonym)) in self.authors


def named_rows(home: Home, rows: pa.Table, wanted: Wanted) -> pa.Array:
    """For each row of a table that may have `id` and `user`, whether it is wanted."""
    if not wanted:
        return pa.array([False] * rows.num_rows, pa.bool_())
    marker = Marker(home)
    ids, users = _column(rows, "id"), _column(rows, "user")
    named = [wanted.names(marker, i, u) for i, u in zip(ids, users, strict=True)]
    return pa.array(named, pa.bool_())


def _column(rows: pa.Table, name: str) -> Iterable[str | None]:
    if name not in rows.column_names:
        return [None] * rows.num_rows
    return (None if v is None else str(v) for v in rows[name].to_pylist())
