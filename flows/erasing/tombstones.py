"""Who may not be learned from any more: marks of erased records and authors, one file a request.

`erased/REQUEST.json` in the home holds marks only (flows/tracing/marks.py). Ingest leaves out
what they name, a check refuses a batch that still holds it, and replay does not draw it. An
author's mark names all of his records, later ones too; deleting the file lifts that.
"""

import json
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tidegate.flows import durable
from tidegate.flows.home import Home
from tidegate.flows.tracing.marks import Marker
from tidegate.flows.tracing.wanted import Wanted, named_rows
from tidegate.flows.usage import UsageError


class Erased:
    """Everybody and everything of a home that was erased."""

    def __init__(self, home: Home) -> None:
        """Raises UsageError for a file that cannot be read: nothing is let through unseen."""
        self.home = home
        self.wanted = Wanted()
        for path in sorted((home.root / "erased").glob("*.json")):
            self.wanted |= _read(path)

    @cached_property
    def _marker(self) -> Marker:
        return Marker(self.home)

    def names(self, record_id: str, pseudonym: str) -> bool:
        return bool(self.wanted) and self.wanted.names(self._marker, record_id, pseudonym)

    def left_out(self, rows: pa.Table) -> pa.Table:
        """The rows of a table that were not erased."""
        if not self.wanted:
            return rows
        return rows.filter(pc.invert(named_rows(self.home, rows, self.wanted)))

    def refuse(self, records: Path) -> None:
        """Raise UsageError if a Parquet file of records holds what was erased."""
        if not self.wanted:
            return
        rows = pq.read_table(records, columns=["id", "user"])
        found = pc.sum(named_rows(self.home, rows, self.wanted)).as_py()
        if found:
            raise UsageError(
                f"{records}: holds {found:,} records that were erased, and none of them may be "
                "learned; ingest the drop again, which leaves them out"
            )


def place(home: Home, request: str) -> Path:
    return home.root / "erased" / f"{request}.json"


def bury(home: Home, request: str, wanted: Wanted) -> None:
    """From here on nobody learns from these. Idempotent."""
    target = place(home, request)
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    said = {"records": sorted(wanted.records), "authors": sorted(wanted.authors)}
    durable.replace(target, json.dumps(said).encode())


def read(home: Home, request: str) -> Wanted | None:
    """What a request buried; None before it did."""
    path = place(home, request)
    return _read(path) if path.exists() else None


def _read(path: Path) -> Wanted:
    try:
        said = json.loads(path.read_bytes())
        return Wanted(frozenset(said["records"]), frozenset(said["authors"]))
    except (ValueError, KeyError, TypeError):
        raise UsageError(
            f"{path}: is damaged; without it erased records would be learned again. Restore it "
            "from a backup, or run the same `tidegate forget` again"
        ) from None
