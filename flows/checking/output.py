"""The files that a check leaves: each whole or not there, and the same when it is run again."""

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from tidegate.flows.checking import quarantine
from tidegate.flows.checking.fates import Fates
from tidegate.flows.home import Home
from tidegate.flows.intake.batches import write_records
from tidegate.flows.intake.home_key import sync_folder
from tidegate.gates.signals import compute


def write_kept(draft: Path, chosen: np.ndarray, path: Path) -> None:
    """The rows of a draft that `chosen` (booleans) names, as a file of records."""

    def rows() -> Iterator[pa.Table]:
        start = 0
        for table in compute.chunks(draft):
            yield table.filter(pa.array(chosen[start : start + table.num_rows]))
            start += table.num_rows

    if not chosen.all():
        whole = draft.with_suffix(".chosen")
        write_records(whole, rows())
        draft = whole
    publish(draft, path)


def write_quarantine(
    home: Home,
    batch: str,
    policy: str,
    source: Path,
    fates: Fates,
    path: Path,
    now: datetime,
) -> None:
    """The records to the home, and a list of ids and gates, without texts, to `path`.

    batch, policy: digests. now: since when what is new in there is there.
    """

    def tables() -> Iterator[pa.Table]:
        start = 0
        for table in compute.chunks(source):
            rows = np.flatnonzero(fates.quarantined[start : start + table.num_rows])
            reasons = [fates.reasons(start + int(row)) for row in rows]
            why = pa.table(
                {
                    "gates": [[r.gate for r in one] for one in reasons],
                    "details": [[r.detail for r in one] for one in reasons],
                    "policy": [policy] * len(rows),
                },
                schema=quarantine.WHY,
            )
            taken = table.take(rows)
            for name in why.column_names:
                taken = taken.append_column(why.schema.field(name), why[name])
            yield taken
            start += table.num_rows

    ids = list(fates.ids[fates.quarantined])
    if ids:
        quarantine.store(home, batch, tables(), ids, now)
    names = ["id", *quarantine.WHY.names]
    nobody = quarantine.GIVEN.empty_table().select(names)
    listed = quarantine.read(home, batch, ids, names) if ids else ()
    write_table(path, pa.concat_tables([nobody, *(table.select(names) for table in listed)]))


def write_said(fates: Fates, dropped: Sequence[Mapping[str, Any]], path: Path) -> None:
    """One line for every record that could be read: what became of it, and why."""

    def rows() -> Iterator[dict[str, Any]]:
        named = fates.named()
        for row, name in enumerate(fates.ids):
            action = "mask" if fates.masked[row] else "keep"
            if fates.quarantined[row]:
                action = "quarantine"
            reasons = [r._asdict() for r in fates.reasons(row)] if named[row] else []
            yield {"id": name, "action": action, "reasons": reasons}
        for line in dropped:
            reason = {"gate": line["gate"], "detail": line["detail"]}
            yield {"id": line["id"], "action": "quarantine", "reasons": [reason]}

    write_lines(path, rows())


def write_trained_on(kept: Path, path: Path) -> None:
    """{id, messages} of each kept record, exactly as a trainer would see them."""

    def rows() -> Iterator[dict[str, Any]]:
        for table in compute.chunks(kept, ["id", "messages", "response"]):
            for row in table.to_pylist():
                *before, last = row["messages"]
                answer = {"role": last["role"], "content": row["response"]}
                yield {"id": row["id"], "messages": [*before, answer]}

    write_lines(path, rows())


def read_dropped(arrived: Path) -> list[dict[str, Any]]:
    """What ingest left out for want of consent. The list must be there, even if empty."""
    lines = (arrived / "dropped.jsonl").read_bytes().split(b"\n")
    return [orjson.loads(line) for line in lines if line.strip()]


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    draft = _draft(path)
    with draft.open("wb") as file:
        for row in rows:
            file.write(orjson.dumps(row) + b"\n")
    publish(draft, path)


def write_table(path: Path, table: pa.Table) -> None:
    pq.write_table(table, _draft(path), compression="zstd")
    publish(_draft(path), path)


def write_bytes(path: Path, data: bytes) -> None:
    _draft(path).write_bytes(data)
    publish(_draft(path), path)


def _draft(path: Path) -> Path:
    return path.with_name(f".{path.name}.draft")


def publish(draft: Path, path: Path) -> None:
    """Give a finished file its name, durably, even if it was written on another disk."""
    near = path.with_name(f".{path.name}.new")
    shutil.move(draft, near)
    with near.open("rb") as file:
        os.fsync(file.fileno())
    near.replace(path)
    sync_folder(path.parent)
