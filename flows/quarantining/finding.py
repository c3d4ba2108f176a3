"""Records of the quarantine by their ids, in one batch or in any."""

from collections.abc import Sequence
from typing import Any

from tidegate.flows.checking import quarantine
from tidegate.flows.home import Home
from tidegate.flows.intake.batches import row_digests
from tidegate.flows.usage import UsageError
from tidegate.gates.types import Digest, Noun


class Quarantined(Noun):
    """A record that is quarantined, without its text."""

    batch: Digest
    id: str
    content: Digest
    time: str
    source: str
    author: str  # a pseudonym
    messages: int
    characters: int
    gates: tuple[str, ...]
    details: tuple[str, ...]
    policy: Digest  # under which it was quarantined last
    since: str


class NotQuarantined(UsageError):
    """An id or a batch that the quarantine does not have, or an id that several batches have."""


def find_records(
    home: Home, ids: Sequence[str], batch: str | None = None
) -> tuple[Quarantined, ...]:
    """One entry an id, in the order of `ids`. Raises NotQuarantined, BrokenQuarantine."""
    found: dict[str, list[Quarantined]] = {name: [] for name in ids}
    for digest in [batch] if batch else quarantine.batches(home):
        for table in quarantine.read(home, digest, list(found)):
            for row, content in zip(table.to_pylist(), row_digests(table), strict=True):
                found[row["id"]].append(_quarantined(digest, row, content))
    for name, places in found.items():
        if not places:
            where = f"in the batch {batch}" if batch else "here"
            raise NotQuarantined(
                f"no record {name!r} is quarantined {where}; see: tidegate quarantine list"
            )
        if len(places) > 1:
            batches = ", ".join(place.batch for place in places)
            raise NotQuarantined(
                f"{name!r} is in several batches: {batches}; name one: --batch"
            )
    return tuple(places[0] for places in found.values())


def texts_of(home: Home, record: Quarantined) -> list[tuple[str, str]]:
    """Who says what in a record: (role or field, text)."""
    columns = ["id", "messages", "correction", "comment"]
    for table in quarantine.read(home, record.batch, [record.id], columns):
        for row in table.to_pylist():
            said = [(m["role"], m["content"]) for m in row["messages"]]
            more = [(n, row[n]) for n in ("correction", "comment") if row[n] is not None]
            return [*said, *more]
    raise NotQuarantined(f"the record {record.id!r} was purged in the meantime")


def _quarantined(batch: str, row: dict[str, Any], content: bytes) -> Quarantined:
    texts = [m["content"] for m in row["messages"]]
    texts += [row[name] for name in ("correction", "comment") if row[name] is not None]
    return Quarantined(
        batch=batch,
        id=row["id"],
        content=f"sha256:{content.hex()}",
        time=row["time"].isoformat(),
        source=row["source"],
        author=row["user"],
        messages=len(row["messages"]),
        characters=sum(map(len, texts)),
        gates=tuple(sorted(set(row["gates"]))),
        details=tuple(row["details"]),
        policy=row["policy"],
        since=row["since"].isoformat(),
    )
