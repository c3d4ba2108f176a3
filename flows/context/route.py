"""Which kept records go elsewhere instead of into the weights: by the policy, then by the recipe.

A record goes to the context store if it says when it ends (`valid_until`), or if its answer
speaks of now: a weight cannot be told to expire, a row in a store can. So does one that
contradicts what was learned and is later, if the policy says so. What the policy leaves is
asked for by the rules of the recipe (routing/rules.py), if it has any. What is routed here
passed every data gate; only where it is kept differs.
Cannot see: answers that will be out of date and say so in no word that is listed.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tidegate.flows.checking.output import publish, write_lines
from tidegate.flows.context.store import Entry, Why, put
from tidegate.flows.home import Home
from tidegate.flows.intake.batches import write_records
from tidegate.flows.routing import modules
from tidegate.flows.routing.modules import ModuleDrop
from tidegate.flows.routing.rules import RuleCount, Rules, is_dated, is_target, is_volatile
from tidegate.gates.signals import compute
from tidegate.gates.types import Measurement, Noun

SHARE = "context.share@candidate"
ROUTES = "routes.jsonl"  # in the folder of an update


class Routed(Noun):
    """How many kept records went where."""

    kept: int
    dated: int
    volatile: int
    later: int = 0
    masked: int = 0
    one_off: int = 0
    source: int = 0
    modules: int = 0  # into drops of modules; the others are looked up

    @property
    def looked_up(self) -> int:
        whys = (self.dated, self.volatile, self.later, self.masked, self.one_off, self.source)
        return sum(whys)

    @property
    def learned(self) -> int:
        return self.kept - self.looked_up - self.modules

    def measurement(self) -> Measurement:
        """The share of kept records that is looked up and not learned."""
        share = self.looked_up / self.kept if self.kept else 0.0
        return Measurement(name=SHARE, value=share, n=self.kept)


@dataclass(frozen=True)
class Learnable:
    """What is left to learn, and what was routed away from it."""

    kept: Path
    routed: Routed
    by_rule: tuple[RuleCount, ...] = ()  # of the recipe
    drops: tuple[ModuleDrop, ...] = ()

    def measurements(self) -> tuple[Measurement, ...]:
        counts = (m for rule in self.by_rule for m in rule.measurements(self.routed.kept))
        return (self.routed.measurement(), *counts)


@dataclass
class _Away:
    """What was found on the way: all texts that are not learned, held at once."""

    entries: list[Entry] = field(default_factory=list)
    lines: dict[str, list[bytes]] = field(default_factory=dict)  # of drops, by module
    named: list[dict[str, Any]] = field(default_factory=list)  # ids and rules, no text


def route(
    home: Home,
    batch: str,
    kept: Path,
    out: Path,
    *,
    time: bool,
    later: Mapping[str, datetime],
    rules: Rules | None = None,
) -> Learnable:
    """Put dated, volatile and `later` records of `kept` into the home's context store, and
    what the rules name where they say.

    Writes the others to `out`, and beside it routes.jsonl: which rule decided about which id.
    batch: digest. time: whether dated and volatile ones go, whatever the rules say. later:
    ids of records that go because of what was learned, and from when on each holds. Run again,
    it writes the same. Rows are streamed; of those that go elsewhere, all texts are held at
    once.
    """
    away = _Away()
    draft = out.with_name(f".{out.name}.draft")
    draft.parent.mkdir(parents=True, exist_ok=True)
    write_records(draft, _learned(compute.chunks(kept), away, time, later, rules))
    put(home, batch, away.entries)
    drops: tuple[ModuleDrop, ...] = ()
    by_rule: tuple[RuleCount, ...] = ()
    if rules is not None:
        drops = modules.put(home, rules.model, batch, away.lines)
        by_rule = rules.counted(Counter(line["rule"] for line in away.named))
        write_lines(out.with_name(ROUTES), away.named)
    publish(draft, out)
    why = Counter(entry.why for entry in away.entries)
    rows = pq.read_metadata(kept).num_rows
    routed = Routed(
        kept=rows,
        dated=why["dated"],
        volatile=why["volatile"],
        later=why["later"],
        masked=why["masked"],
        one_off=why["one_off"],
        source=why["source"],
        modules=sum(drop.records for drop in drops),
    )
    return Learnable(out, routed, by_rule, drops)


def _learned(
    tables: Iterable[pa.Table],
    away: _Away,
    time: bool,
    later: Mapping[str, datetime],
    rules: Rules | None,
) -> Iterator[pa.Table]:
    """What is left of each table; what is not left is added to `away`."""
    names = pa.array(sorted(later), pa.string())
    for rows in tables:
        gone = np.array(pc.is_in(rows["id"], value_set=names).to_pylist(), dtype=bool)
        if time:
            gone |= is_dated(rows) | is_volatile(rows)
        gone &= is_target(rows)  # only what would be learned has anywhere else to go
        away.entries.extend(_by_policy(row, later) for row in _rows(rows, gone))
        rest = rows.filter(pa.array(~gone))
        yield rest if rules is None else _after(rules, rest, away)


def _after(rules: Rules, rows: pa.Table, away: _Away) -> pa.Table:
    """What the rules leave of a table; what they take is added to `away`."""
    place = rules.place(rows)
    decided = place > 0
    for number, row in zip(place[decided], _rows(rows, decided), strict=True):
        rule = rules.routes[number - 1]
        said = {"id": row["id"], "to": rule.to, "rule": int(number), "why": rule.why}
        away.named.append(said)
        if rule.module is not None:
            line = modules.line(row, masked=row["id"] in rules.masked)
            away.lines.setdefault(rule.module, []).append(line)
        elif rule.to == "context":
            away.entries.append(_entry(row, row["valid_from"], rule.when, rule.why))
    stays = np.array([0, *(rule.to == "weights" for rule in rules.routes)], dtype=bool)
    return rows.filter(pa.array(~decided | stays[place]))


def _by_policy(row: Mapping[str, Any], later: Mapping[str, datetime]) -> Entry:
    why: Why = "dated" if row["valid_until"] else "later" if row["id"] in later else "volatile"
    return _entry(row, row["valid_from"] or later.get(row["id"]), why, None)


def _entry(
    row: Mapping[str, Any], valid_from: datetime | None, why: Why, reason: str | None
) -> Entry:
    asked = [m["content"] for m in row["messages"] if m["role"] == "user"]
    return Entry(
        id=row["id"],
        question=asked[-1] if asked else "",
        answer=row["response"],
        valid_from=valid_from,
        valid_until=row["valid_until"],
        why=why,
        reason=reason,
    )


def _rows(rows: pa.Table, chosen: np.ndarray) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = rows.filter(pa.array(chosen)).to_pylist()
    return found
