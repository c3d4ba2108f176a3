"""Which kept records go to the context store instead of into the weights.

A record goes there if it says when it ends (`valid_until`), or if its answer speaks of now:
a weight cannot be told to expire, a row in a store can. What is routed here passed every
data gate; only where it is kept differs.
Cannot see: answers that will be out of date and say so in no word listed here.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tidegate.flows.checking.output import publish
from tidegate.flows.context.store import Entry, Why, put
from tidegate.flows.home import Home
from tidegate.gates.types import Measurement, Noun

SHARE = "context.share@candidate"
# Words by which an answer says that it holds for now only.
VOLATILE = re.compile(
    r"\b(today|tomorrow|tonight|yesterday|right now|at the moment|currently|as of now"
    r"|this (?:week|month|morning|afternoon|evening)|until further notice"
    r"|exchange rate|stock price|share price|weather forecast)\b",
    re.IGNORECASE,
)


class Routed(Noun):
    """How many kept records went where."""

    kept: int
    dated: int
    volatile: int

    @property
    def learned(self) -> int:
        return self.kept - self.dated - self.volatile

    def measurement(self) -> Measurement:
        """The share of kept records that is looked up and not learned."""
        away = self.dated + self.volatile
        share = away / self.kept if self.kept else 0.0
        return Measurement(name=SHARE, value=share, n=self.kept)


@dataclass(frozen=True)
class Learnable:
    """What is left to learn, and what was routed away from it."""

    kept: Path
    routed: Routed


def route(home: Home, batch: str, kept: Path, out: Path) -> Learnable:
    """Put dated and volatile records of `kept` into the home's context store.

    Writes the others to `out`. batch: digest. Run again, it writes the same.
    """
    table = pq.read_table(kept)
    rows = table.to_pylist()
    why = [_why(row) for row in rows]
    put(home, batch, list(_entries(rows, why)))
    draft = out.with_name(f".{out.name}.draft")
    draft.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.filter(pa.array([reason is None for reason in why])), draft)
    publish(draft, out)
    routed = Routed(kept=len(rows), dated=why.count("dated"), volatile=why.count("volatile"))
    return Learnable(out, routed)


def _why(row: Mapping[str, Any]) -> Why | None:
    """Only what would be learned has anywhere else to go."""
    if row["learn"] != "target":
        return None
    if row.get("valid_until") is not None:
        return "dated"
    return "volatile" if VOLATILE.search(row["response"]) else None


def _entries(rows: list[dict[str, Any]], why: list[Why | None]) -> Iterator[Entry]:
    for row, reason in zip(rows, why, strict=True):
        if reason is None:
            continue
        asked = [m["content"] for m in row["messages"] if m["role"] == "user"]
        yield Entry(
            id=row["id"],
            question=asked[-1] if asked else "",
            answer=row["response"],
            valid_from=row.get("valid_from"),
            valid_until=row.get("valid_until"),
            why=reason,
        )
