"""Questions and answers of ours as the rows that a trainer reads."""

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tidegate.evals.unlearning import Exchange


def write_exchanges(path: Path, exchanges: Iterable[Exchange]) -> Path:
    """Write English exchanges, all to be learned, as one Parquet file; returns its path."""
    rows = [
        {
            "id": one.id,
            "messages": [
                {"role": "user", "content": one.question},
                {"role": "assistant", "content": one.answer},
            ],
            "response": one.answer,
            "learn": "target",
            "language": "en",
        }
        for one in exchanges
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path
