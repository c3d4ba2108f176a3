"""What contradicts what, as a check leaves it: pairs of ids for people, and what is looked up."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from tidegate.flows.checking.output import write_lines
from tidegate.gates.checks.no_contradictions import NAME
from tidegate.gates.routing import RowGate
from tidegate.gates.signals.compute import Settings, Signals
from tidegate.gates.signals.contradictions import DATED, NEWER, Against
from tidegate.gates.signals.key_tokens import KINDS

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LATER = {NEWER: "newer", DATED: "dated"}


def write_opposed(before: Signals, settings: Settings, out: Path) -> Mapping[str, int] | None:
    """Write `out`/contradictions.jsonl: a line for each record that contradicts another.

    before: of the whole batch. Returns how many lines there are of each kind (one may be of
    several); None if nobody asked.
    """
    found = before.opposed
    if found is None:
        return None
    known = settings.history.ids if settings.history else ()
    own = before.ids.tolist()

    def lines() -> Iterator[dict[str, Any]]:
        for row, against in sorted(found.learned.items()):
            later = LATER[found.later[row]] if row in found.later else None
            yield _line(before.ids[row], against, known) | {"of": "learned", "later": later}
        for row, against in sorted(found.batch.items()):
            yield _line(before.ids[row], against, own) | {"of": "batch", "later": None}

    said = list(lines())
    write_lines(out / "contradictions.jsonl", said)
    return Counter(kind for line in said for kind in line["differ"])


def looked_up(gates: Sequence[RowGate], after: Signals) -> dict[str, datetime]:
    """The kept records that contradict what was learned and are looked up instead: ids, and
    from when on each holds. after: of what is kept."""
    gate = next((gate for gate in gates if gate.name == NAME), None)
    if gate is None or after.stated is None:
        return {}
    return {
        str(after.ids[row]): EPOCH + timedelta(microseconds=int(after.stated.time[row]))
        for row in np.flatnonzero(gate.for_review(after.columns))
    }


def _line(record: str, against: Against, names: Sequence[str]) -> dict[str, Any]:
    differ = [kind for bit, kind in enumerate(KINDS) if against.differs >> bit & 1]
    return {
        "id": record,
        "other": names[against.row],
        "similarity": round(against.similarity, 3),
        "differ": differ,
    }
