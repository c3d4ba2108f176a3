"""Which records of a batch people released from which gates, and what came of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidegate.flows.checking.fates import Fates, Marks
from tidegate.flows.home import Home
from tidegate.flows.intake.batches import CONTENT, row_digests
from tidegate.flows.quarantining.releases import counted
from tidegate.gates.policy.nouns import Policy
from tidegate.gates.routing import Reason, Routes, RowGate
from tidegate.gates.signals import compute
from tidegate.gates.signals.compute import Signals


@dataclass(frozen=True)
class Released:
    """The records that are kept only because people released them from a gate, by gate and by
    who it was. Arrays of booleans, one a record of the batch."""

    marks: Marks

    def count(self, gate: str | None = None) -> int:
        marked = [m for reason, m in self.marks if gate in (None, reason.gate)]
        return int(np.logical_or.reduce(marked).sum()) if marked else 0

    def allowed(self, gates: Sequence[RowGate]) -> list[RowGate]:
        """The gates, each allowing as many more records as were released from it."""
        return [_allowing(gate, self.count(gate.name)) for gate in gates]


@dataclass(frozen=True)
class Excused:
    """Who released which records from which gates. Arrays of booleans, one a record."""

    marks: Marks

    @property
    def by_gate(self) -> dict[str, np.ndarray]:
        found: dict[str, np.ndarray] = {}
        for reason, marked in self.marks:
            found[reason.gate] = found.get(reason.gate, False) | marked
        return found

    def named(self, routes: Routes, fates: Fates) -> Marks:
        """The kept records that a gate named and people released from it, for the reader:
        what became of the others may have taken its reason away."""
        kept = ~fates.quarantined
        return tuple((r, m & kept & routes.hits(r.gate)) for r, m in self.marks)

    def released(self, gates: Sequence[RowGate], after: Signals, fates: Fates) -> Released:
        """Those that a gate would still have quarantined. `after`: signals of what is kept."""
        kept, marks = np.flatnonzero(~fates.quarantined), []
        for gate in gates:
            if not gate.params.quarantine or not gate.is_measured(after.columns):
                continue
            hit = np.zeros_like(fates.quarantined)
            hit[kept] = np.logical_or.reduce(gate.hits(after.columns))
            named = [(r, m & hit) for r, m in self.marks if r.gate == gate.name]
            marks += [(reason, marked) for reason, marked in named if marked.any()]
        return Released(tuple(marks))


def find_excused(
    home: Home, batch: str, policy: Policy, source: Path, ids: np.ndarray, now: datetime
) -> Excused:
    """The releases of a batch (digest) that count under a policy at a time.

    source: the batch's file of records; ids: of its rows. A release of a record whose content
    is another than what was released counts for nothing.
    """
    by_record = counted(home, batch, policy, now)
    if not by_record:
        return Excused(())
    content = _contents(source, sorted({identity for identity, _ in by_record}))
    marks: dict[Reason, np.ndarray] = {}
    places = {name: row for row, name in enumerate(ids) if name in content}
    for (identity, digest), by_gate in by_record.items():
        if content.get(identity) != digest:
            continue
        for gate, names in by_gate.items():
            reason = Reason(gate, f"released by {', '.join(names)}")
            marked = marks.setdefault(reason, np.zeros(len(ids), dtype=bool))
            marked[places[identity]] = True
    return Excused(tuple(marks.items()))


def _contents(source: Path, ids: Sequence[str]) -> Mapping[str, str]:
    """By id, the digest of the content of some records."""
    wanted, found = pa.array(ids, pa.string()), {}
    for table in compute.chunks(source, CONTENT.names):
        some = table.filter(pc.is_in(table["id"], wanted))
        for name, digest in zip(some["id"].to_pylist(), row_digests(some), strict=True):
            found[name] = f"sha256:{digest.hex()}"
    return found


def _allowing(gate: RowGate, more: int) -> RowGate:
    if not more:
        return gate
    allowed = gate.params.max_records + more
    params = gate.params.model_copy(update={"max_records": allowed})
    return RowGate(gate.name, params, gate.rules, gate.critical)
