"""A stored batch as a drop: `batch:sha256:…` learns what lies in the home already."""

from collections.abc import Sequence
from pathlib import Path

from tidegate.flows import durable
from tidegate.flows.home import Home
from tidegate.flows.intake.batches import load_batch
from tidegate.flows.intake.connectors.rows import IngestError
from tidegate.gates.types import Batch

PREFIX = "batch:"


def stored_batch(drops: Sequence[str], home: Home, out: Path) -> Batch | None:
    """The batch that is asked for by its digest; None if the drops are to be ingested.

    Writes empty lists of what was left out into `out`: whoever stored the batch has said it.
    Raises IngestError if there is another drop beside it, or the batch is not there or damaged.
    """
    named = [drop for drop in drops if drop.startswith(PREFIX)]
    if not named:
        return None
    if len(drops) > 1:
        raise IngestError(f"{named[0]}: a stored batch is learned alone; leave out the rest")
    digest = named[0].removeprefix(PREFIX)
    batch = load_batch(home, digest, thorough=True)
    out.mkdir(parents=True, exist_ok=True)
    for name in ("unreadable.jsonl", "dropped.jsonl"):
        durable.replace(out / name, b"")
    return batch
