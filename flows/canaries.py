"""Canaries: made once for an update, kept where only the owner reads, and added to its rows.

They are inserted after the data gates, so no gate has to let them through, and they are
neither replayed nor counted as rows of the batch. A run that was killed finds the same ones.
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tidegate.evals.probes.canaries import Canaries, make_canaries
from tidegate.flows.intake.home_key import write_private
from tidegate.gates.policy.nouns import Policy

PROBE = "canaries"


def insert_canaries(policy: Policy, kept: Path, work: Path) -> tuple[Path, Path | None]:
    """The rows to train on, and the file of the canaries among them if the policy asks.

    Writes `work`/canaries.json (in clear, with the salt of their names in the evidence) and
    `work`/with_canaries.parquet, both of mode 0600.
    """
    if PROBE not in policy.probes():
        return kept, None
    secret, rows = work / "canaries.json", work / "with_canaries.parquet"
    if not secret.exists():
        write_private(secret, make_canaries().model_dump_json().encode())
    made = Canaries.model_validate_json(secret.read_bytes())
    table = pq.read_table(kept)
    whole = pa.BufferOutputStream()
    pq.write_table(pa.concat_tables([table, _as_rows(made, table.schema)]), whole)
    write_private(rows, whole.getvalue().to_pybytes(), replace=True)
    return rows, secret


def _as_rows(made: Canaries, schema: pa.Schema) -> pa.Table:
    rows = [
        {
            "id": f"canary-{number}",
            "messages": [
                {"role": "user", "content": one.question},
                {"role": "assistant", "content": one.answer},
            ],
            "response": one.answer,
            "learn": "target",
            "language": "en",
        }
        for number, one in enumerate(made.inserted)
    ]
    return pa.Table.from_pylist(rows, schema=schema)
