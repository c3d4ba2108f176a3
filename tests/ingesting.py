"""Small drops for the tests of ingest and its connectors, and what became of them."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tidegate.flows.home import Home
from tidegate.flows.ingest import ingest
from tidegate.gates.types import Batch

NOW = datetime(2026, 6, 1, tzinfo=UTC)
KEY = bytes(range(32))
SECRET = "hunter2"  # stands for text of users: never in an error or a list
ASKED = {"role": "user", "content": SECRET}
ANSWERED = {"role": "assistant", "content": SECRET}
GOOD: dict[str, Any] = {
    "id": "a",
    "time": "2026-05-01T00:00:00Z",
    "source": "s",
    "user": "u",
    "messages": [ASKED, ANSWERED],
    "consent": True,
}


def record(i: int = 0, **changes: Any) -> dict[str, Any]:
    return {
        "id": f"r{i}",
        "time": "2026-05-01T12:00:00Z",
        "source": "chat",
        "user": f"alice{i % 3}",
        "messages": [
            {"role": "user", "content": f"question {i}"},
            {"role": "assistant", "content": f"answer {i}"},
        ],
        "consent": True,
        **changes,
    }


def drop(path: Path, *rows: Any) -> Path:
    """A JSON Lines file; rows of bytes are written as they are."""
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def run(folder: Path, *drops: Path | str, **more: Any) -> Batch:
    return ingest(
        drops,
        home=Home(folder / "home"),
        out=folder / "out",
        pseudonym_key=KEY,
        now=NOW,
        **more,
    )


def stored(folder: Path, batch: Batch) -> list[dict[str, Any]]:
    path = Home(folder / "home").batch(batch.digest) / "records.parquet"
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def listed(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "out" / name).read_text().splitlines()]


def reasons(folder: Path) -> list[str]:
    return [line["reason"] for line in listed(folder, "unreadable.jsonl")]


def but(**changes: Any) -> dict[str, Any]:
    return {**GOOD, **changes}


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in GOOD.items() if key != name}
