"""What becomes of every record of a batch, from the first routing to the last.

Masking one thing may uncover another, and dropping records changes the counts of those that
stay. So what is kept is routed again, until no gate names anybody new.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tidegate.gates.masking import BY_NER, Masker
from tidegate.gates.routing import NOBODY, Reason, Routes, RowGate, either, route
from tidegate.gates.signals import compute
from tidegate.gates.signals.compute import Settings, Signals
from tidegate.gates.types import Progress, Report

ROUNDS = 5  # what is named after that is left, and fails its gate
Marks = tuple[tuple[Reason, np.ndarray], ...]


@dataclass(frozen=True)
class Fates:
    """One entry a record of the batch. Arrays of booleans."""

    ids: np.ndarray
    quarantined: np.ndarray
    masked: np.ndarray
    marks: Marks  # by reason: which records it names

    def reasons(self, row: int) -> list[Reason]:
        return list(dict.fromkeys(reason for reason, marked in self.marks if marked[row]))

    def named(self) -> np.ndarray:
        """Which records there is any reason for."""
        return either(self.masked, (marked for _, marked in self.marks))

    def because_of(self, gate: str) -> np.ndarray:
        """Which records a gate named, at any time."""
        return either(self.masked, (m for reason, m in self.marks if reason.gate == gate))


class Masking:
    """Applies a first routing to a batch, and remembers what masking really changed."""

    def __init__(self, routes: Routes, masker: Masker) -> None:
        self.routes, self._masker = routes, masker
        self.changed = np.zeros(len(routes.mask), dtype=bool)
        self._rows_by_reason: dict[Reason, list[int]] = {}

    def applied(self, source: Path, progress: Report) -> Iterator[pa.Table]:
        """The records that are not quarantined, in their order, some with other texts."""
        start = 0
        for table in compute.chunks(source):
            rows = np.arange(start, start + table.num_rows)
            mask = self.routes.mask[rows]
            if self._masker.names is not None:  # no signal says which records hold names
                mask = ~self.routes.quarantine[rows]
            keep = np.flatnonzero(~(self.routes.quarantine[rows] | mask))
            mask = np.flatnonzero(mask)
            if len(mask):
                masked = [
                    self._masked(start + int(row), record)
                    for row, record in zip(mask, table.take(mask).to_pylist(), strict=True)
                ]
                parts = [table.take(keep), pa.Table.from_pylist(masked, schema=table.schema)]
                yield pa.concat_tables(parts).take(np.argsort(np.concatenate((keep, mask))))
            else:
                yield table.take(keep)
            start += table.num_rows
            progress(Progress("masking", start, len(self.changed), "records"))

    def _masked(self, row: int, record: Mapping[str, Any]) -> dict[str, Any]:
        masked, reasons = self._masker.mask(record)
        self.changed[row] = bool(reasons)
        for reason in reasons:
            self._rows_by_reason.setdefault(reason, []).append(row)
        return masked

    def uncovered(self) -> Marks:
        """Reasons for what was masked although no rule had seen it before."""
        marks = []
        for reason, rows in sorted(self._rows_by_reason.items()):
            marked = np.zeros(len(self.changed), dtype=bool)
            marked[rows] = True
            if reason != BY_NER:
                marked &= ~self.routes.hits(reason.gate)
            if marked.any():
                marks.append((reason, marked))
        return tuple(marks)


def settled(
    ids: np.ndarray,
    masking: Masking,
    after: Signals,
    gates: Sequence[RowGate],
    settings: Settings,
    excused: Mapping[str, np.ndarray] = NOBODY,
) -> tuple[Fates, Signals, np.ndarray]:
    """The fates, the signals of what is kept in the end, and which rows of `after` that is.

    excused: by gate, which records of the batch people released from it.
    """
    marks = [*masking.routes.marks, *masking.uncovered()]
    quarantined = masking.routes.quarantine.copy()
    rows = np.flatnonzero(~quarantined)  # of the batch, for each record that is left
    for _ in range(ROUNDS):
        still = {gate: marked[rows] for gate, marked in excused.items()}
        again = route(gates, after.columns, after.rows, masked=True, excused=still)
        if not again.quarantine.any():
            break
        for reason, hit in again.marks:
            named = hit & again.quarantine
            if named.any():
                marked = np.zeros_like(quarantined)
                marked[rows[named]] = True
                marks.append((reason, marked))
        quarantined[rows[again.quarantine]] = True
        rows = rows[~again.quarantine]
        after = after.of(~again.quarantine, settings)
    # A name was masked or it is nothing: no record is quarantined because of one.
    marks = [(r, m & ~quarantined) if r == BY_NER else (r, m) for r, m in marks]
    masked = masking.changed & ~quarantined
    chosen = ~quarantined[np.flatnonzero(~masking.routes.quarantine)]
    return Fates(ids, quarantined, masked, tuple(marks)), after, chosen
