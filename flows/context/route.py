"""Which kept records go to the context store instead of into the weights.

A record goes there if it says when it ends (`valid_until`), or if its answer speaks of now:
a weight cannot be told to expire, a row in a store can. So does one that contradicts what was
learned and is later, if the policy says so. What is routed here passed every
data gate; only where it is kept differs.
Cannot see: answers that will be out of date and say so in no word listed here.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tidegate.flows.checking.output import publish
from tidegate.flows.context.store import Entry, put
from tidegate.flows.home import Home
from tidegate.flows.intake.batches import write_records
from tidegate.gates.signals import compute
from tidegate.gates.types import Measurement, Noun

SHARE = "context.share@candidate"
# Words by which an answer says that it holds for now only.
VOLATILE = (
    r"(?i)\b(today|tomorrow|tonight|yesterday|right now|at the moment|currently|as of now"
    r"|this (?:week|month|morning|afternoon|evening)|until further notice"
    r"|exchange rate|stock price|share price|weather forecast)\b"
)


class Routed(Noun):
    """How many kept records went where."""

    kept: int
    dated: int
    volatile: int
    later: int = 0

    @property
    def away(self) -> int:
        return self.dated + self.volatile + self.later

    @property
    def learned(self) -> int:
        return self.kept - self.away

    def measurement(self) -> Measurement:
        """The share of kept records that is looked up and not learned."""
        share = self.away / self.kept if self.kept else 0.0
        return Measurement(name=SHARE, value=share, n=self.kept)


@dataclass(frozen=True)
class Learnable:
    """What is left to learn, and what was routed away from it."""

    kept: Path
    routed: Routed


def route(
    home: Home,
    batch: str,
    kept: Path,
    out: Path,
    *,
    time: bool,
    later: Mapping[str, datetime],
) -> Learnable:
    """Put dated, volatile and `later` records of `kept` into the home's context store.

    Writes the others to `out`. batch: digest. time: whether dated and volatile ones go. later:
    ids of records that go because of what was learned, and from when on each holds. Run again,
    it writes the same. Rows are
    streamed; of those that are looked up, all texts are held at once.
    """
    found: list[Entry] = []
    draft = out.with_name(f".{out.name}.draft")
    draft.parent.mkdir(parents=True, exist_ok=True)
    write_records(draft, _learned(compute.chunks(kept), found, time, later))
    put(home, batch, found)
    publish(draft, out)
    why = [entry.why for entry in found]
    rows = pq.read_metadata(kept).num_rows
    routed = Routed(
        kept=rows,
        dated=why.count("dated"),
        volatile=why.count("volatile"),
        later=why.count("later"),
    )
    return Learnable(out, routed)


def _learned(
    tables: Iterable[pa.Table], found: list[Entry], time: bool, later: Mapping[str, datetime]
) -> Iterator[pa.Table]:
    """What is left of each table; what is not left is added to `found`."""
    names = pa.array(sorted(later), pa.string())
    for rows in tables:
        # Only what would be learned has anywhere else to go.
        target = pc.fill_null(pc.equal(rows["learn"], "target"), False)
        ends = pc.is_valid(rows["valid_until"])
        speaks_of_now = pc.match_substring_regex(rows["response"], VOLATILE)
        away = pc.is_in(rows["id"], value_set=names)
        if time:
            away = pc.or_(away, pc.or_(ends, pc.fill_null(speaks_of_now, False)))
        away = pc.and_(target, away)
        found.extend(_entry(row, later) for row in rows.filter(away).to_pylist())
        yield rows.filter(pc.invert(away))


def _entry(row: Mapping[str, Any], later: Mapping[str, datetime]) -> Entry:
    asked = [m["content"] for m in row["messages"] if m["role"] == "user"]
    return Entry(
        id=row["id"],
        question=asked[-1] if asked else "",
        answer=row["response"],
        valid_from=row["valid_from"] or later.get(row["id"]),
        valid_until=row["valid_until"],
        why="dated" if row["valid_until"] else "later" if row["id"] in later else "volatile",
    )
