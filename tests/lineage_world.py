"""A home with a few decided updates, made without training: for lineage and erasure."""

import json
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tests.ingesting import NOW, drop, record
from tidegate.flows.home import Home
from tidegate.flows.ingest import ingest
from tidegate.flows.intake.batches import RECORDS
from tidegate.flows.intake.pseudonym import pseudonym_key
from tidegate.flows.ledger import Ledger
from tidegate.gates.audit import statement
from tidegate.gates.digest import digest_bytes

MODEL = "tiny"


class World:
    """Updates are told what to keep and replay; nothing is checked, trained or measured."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, Home(folder / "home")

    def batch(self, first: int, count: int = 6) -> str:
        """A batch of the records rN; three authors take turns."""
        rows = [record(n) for n in range(first, first + count)]
        batch = ingest(
            [drop(self.folder / f"{first}.jsonl", *rows)],
            home=self.home,
            out=self.home.updates / "arrived" / str(first),
            pseudonym_key=pseudonym_key(self.home),
            now=NOW,
        )
        return batch.digest

    def update(
        self,
        version: int,
        parent: int,
        batch: str,
        *,
        refuse: Collection[str] = (),
        replay: Collection[str] = (),
        of: str | None = None,
        action: str = "promote",
        model: str = MODEL,
    ) -> str:
        """An update as it lies in a home; `replay` are ids of the batch `of`."""
        update_id = f"u-{model}-{version}"
        work = self.home.updates / update_id
        (work / "check").mkdir(parents=True)
        rows = self.rows(batch)
        refused = pc.is_in(rows["id"], value_set=pa.array(sorted(refuse), pa.string()))
        pq.write_table(rows.filter(pc.invert(refused)), work / "check" / "kept.parquet")
        said = [
            {"id": name, "action": "quarantine" if name in refuse else "keep", "reasons": []}
            for name in rows["id"].to_pylist()
        ]
        lines = "".join(json.dumps(line) + "\n" for line in said)
        (work / "check" / "records.jsonl").write_text(lines)
        if of:
            earlier = self.rows(of)
            drawn = pc.is_in(earlier["id"], value_set=pa.array(sorted(replay), pa.string()))
            pq.write_table(earlier.filter(drawn), work / "replay.parquet")
        self.decide(version, parent, batch, update_id, action, model)
        return update_id

    def decide(
        self, version: int, parent: int, batch: str, update_id: str, action: str, model: str
    ) -> None:
        subjects = {"batch": batch, "adapter": digest_bytes(f"{model}{version}".encode())}
        said = statement(
            act="decide",
            model=model,
            subjects=subjects,
            about={
                "decision_id": update_id,
                "action": action,
                "version": str(version),
                "parent": str(parent),
                "rulings": [],
            },
            decided_at=datetime(2026, 6, version, tzinfo=UTC),
        )
        Ledger(self.home.ledger).append(said)

    def rows(self, batch: str) -> pa.Table:
        return pq.read_table(self.home.batch(batch) / RECORDS)
