"""What becomes of each record: kept, masked or quarantined, and for which reasons.

The rules, all of them:
 * A record is a hit of a gate when one of the gate's rules says so, or has no number to
   say it with: what could not be measured is never clean.
 * A hit of a gate that masks is masked first; if it is still a hit, and the gate also
   quarantines, it is quarantined then.
 * A hit of a gate that only quarantines is quarantined. Quarantine wins over mask.
 * A hit of a gate that people released this record from is not quarantined by that gate.
 * A hit of a gate that does neither is kept, and counts against the gate's limit.
 * A weak hit is kept whatever the gate does, and is for a person to look at.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from tidegate.gates.gate import RowParams, RowRule, load_gates
from tidegate.gates.policy.nouns import GateUse
from tidegate.gates.types import Action

NOBODY: Mapping[str, np.ndarray] = MappingProxyType({})


class Reason(NamedTuple):
    gate: str
    detail: str


@dataclass(frozen=True)
class RowGate:
    """A data gate of the policy that names records."""

    name: str
    params: RowParams
    rules: tuple[RowRule, ...]
    critical: bool  # on_fail: reject, not hold

    def hits(self, columns: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """For each rule, which records are hits. KeyError if a column was not measured."""
        # Not "value > limit": a NaN must be a hit.
        return [~(columns[rule.column] <= rule.above) for rule in self.rules]

    def weak(self, columns: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """For each rule, which of its hits are too weak to refuse a record for."""
        return [
            _weak(rule, columns, hit)
            for rule, hit in zip(self.rules, self.hits(columns), strict=True)
        ]

    def for_review(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Which records are hits of weak evidence only."""
        hits = zip(self.hits(columns), self.weak(columns), strict=True)
        every, strong = zip(*((hit, hit & ~weak) for hit, weak in hits), strict=True)
        return np.asarray(np.logical_or.reduce(every) & ~np.logical_or.reduce(strong))

    def is_measured(self, columns: Mapping[str, np.ndarray]) -> bool:
        return all(rule.column in columns for rule in self.rules)


def _weak(rule: RowRule, columns: Mapping[str, np.ndarray], hit: np.ndarray) -> np.ndarray:
    if rule.weak is None or rule.weak.column not in columns:
        return np.zeros_like(hit)
    # A NaN is neither: what could not be measured is never weak.
    odd = columns[rule.weak.column] > rule.weak.above
    return hit & odd & (columns[rule.column] <= rule.weak.strong)


def row_gates(uses: Sequence[GateUse]) -> tuple[RowGate, ...]:
    """The policy's gates that name records, with their rules."""
    known = load_gates()
    found = []
    for use in uses:
        rows = known[use.gate].rows
        if rows is not None and isinstance(use.params, RowParams):
            critical = use.on_fail is Action.REJECT
            found.append(RowGate(use.gate, use.params, rows(use.params), critical))
    return tuple(found)


@dataclass(frozen=True)
class Routes:
    """What becomes of each record. Arrays of booleans, one a record."""

    quarantine: np.ndarray
    mask: np.ndarray  # never where quarantine is
    marks: tuple[tuple[Reason, np.ndarray], ...]  # by rule: which records it names

    def hits(self, gate: str) -> np.ndarray:
        """Which records any rule of a gate names."""
        return either(self.quarantine, (m for reason, m in self.marks if reason.gate == gate))


def either(like: np.ndarray, marks: Iterable[np.ndarray]) -> np.ndarray:
    """Which records any of some marks name; nobody, if there are none. Shaped as `like`."""
    named = np.zeros_like(like)
    for marked in marks:
        named |= marked
    return named


def route(
    gates: Sequence[RowGate],
    columns: Mapping[str, np.ndarray],
    rows: int,
    *,
    masked: bool = False,
    excused: Mapping[str, np.ndarray] = NOBODY,
) -> Routes:
    """Route every record. `masked`: masking is over, so hits of gates that do both go now.

    excused: by gate, the records that people released from it. They are still marked, and
    masked where the gate masks, but this gate does not quarantine them.

    Gates whose columns were not measured name nobody: their evidence says why.
    """
    quarantine, mask = np.zeros(rows, dtype=bool), np.zeros(rows, dtype=bool)
    marks: list[tuple[Reason, np.ndarray]] = []
    for gate in gates:
        if not gate.is_measured(columns):
            continue
        found = zip(gate.rules, gate.hits(columns), gate.weak(columns), strict=True)
        for rule, named, weak in found:
            hit = named & ~weak
            marks.append((Reason(gate.name, rule.detail), hit))
            if rule.weak:
                marks.append((Reason(gate.name, rule.weak.detail), weak))
            if gate.params.mask and not masked:
                mask |= hit
            elif gate.params.quarantine:
                quarantine |= hit & ~excused[gate.name] if gate.name in excused else hit
    return Routes(quarantine, mask & ~quarantine, tuple(marks))
