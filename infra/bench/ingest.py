"""How fast ingest is, and how much memory it takes: records per second and peak RSS.

python infra/bench/ingest.py 100000
"""

import json
import random
import resource
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tidegate.flows.home import Home
from tidegate.flows.ingest import ingest

NOW = datetime(2026, 6, 1, tzinfo=UTC)
CHARACTERS = 300  # of messages in a record
WORDS = [
    "tide",
    "gate",
    "ebb",
    "flood",
    "lock",
    "sluice",
    "harbour",
    "mooring",
    "current",
    "channel",
    "quay",
    "beacon",
]


def write_drop(path: Path, records: int, seed: int = 7) -> None:
    """Synthetic records with ids in random order, one in a hundred without consent."""
    rng = random.Random(seed)
    order = list(range(records))
    rng.shuffle(order)
    texts = [" ".join(rng.choices(WORDS, k=60)) for _ in range(1000)]
    with path.open("w") as file:
        for i in order:
            asked, answered = rng.choice(texts), rng.choice(texts)
            record = {
                "id": f"r-{i:09d}",
                "time": (NOW - timedelta(seconds=i)).isoformat(),
                "source": rng.choice(("chat", "mail", "api")),
                "user": f"user-{rng.randrange(5000)}",
                "messages": [
                    {"role": "user", "content": f"{i} {asked}"[: CHARACTERS // 3]},
                    {"role": "assistant", "content": answered[: CHARACTERS - CHARACTERS // 3]},
                ],
                "feedback": {"rating": rng.choice(("up", "down", None))},
                "model": "bench@1",
                "consent": i % 100 != 0,
            }
            file.write(json.dumps(record) + "\n")


def main() -> None:
    records = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_drop(root / "drop.jsonl", records)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        began, busy = time.perf_counter(), time.process_time()
        batch = ingest(
            [root / "drop.jsonl"],
            home=Home(root / "home"),
            out=root / "out",
            pseudonym_key=b"k" * 32,
            now=NOW,
        )
        seconds, busy = time.perf_counter() - began, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{records} records, {batch.rows} kept, in {seconds:.1f} s ({busy:.1f} s of CPU)")
    print(
        f"{records / seconds:,.0f} records/s, peak RSS {peak:,.0f} MB ({before:,.0f} MB before)"
    )


if __name__ == "__main__":
    main()
