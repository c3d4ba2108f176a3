"""From a record to everything it touched: batches, updates, versions, aliases.

Rows without consent were never in a batch; their ids are in the lists of what was left out.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Console
from rich.markup import escape

from tidegate.flows.home import Home
from tidegate.flows.intake.batches import RECORDS
from tidegate.flows.registry import Registry
from tidegate.flows.tracing import index
from tidegate.flows.tracing.marks import Marker
from tidegate.flows.tracing.steps import Step, Steps, read_steps, with_descendants
from tidegate.flows.tracing.wanted import Wanted, named_rows
from tidegate.flows.usage import UsageError
from tidegate.gates.types import Digest, Noun

DESCENDS = "descends"  # from a version that learned or replayed it


class Touched(Noun):
    """One update, and what became of the rows in it."""

    update_id: str
    model: str
    version: str
    batch: Digest
    verdict: str
    rows: dict[str, int]  # by fate: learned, kept, refused, replayed


class Affected(Noun):
    """A version whose weights may hold something of the rows."""

    model: str
    version: str
    verdict: str
    why: str  # learned, replayed or descends
    aliases: tuple[str, ...]


class Reach(Noun):
    """Everything that some records touched. Names nobody: digests, versions and counts only."""

    batches: tuple[Digest, ...]  # stored batches that hold a row of them now
    updates: tuple[Touched, ...]
    versions: tuple[Affected, ...]
    listed: int = 0  # lines that name them in lists of what ingest left out

    @property
    def found(self) -> bool:
        return bool(self.batches or self.updates or self.listed)


def reach_of(home: Home, wanted: Wanted, aliases: Mapping[str, Mapping[str, str]]) -> Reach:
    """What the wanted records touched in a home.

    aliases: by model, which version each alias points at now. Raises UsageError for a damaged
    file of the lineage, and BrokenLedger.
    """
    steps = read_steps(home)
    touched = tuple(_touched(home, wanted, steps.values()))
    return Reach(
        batches=tuple(sorted(_holding(home, wanted))),
        updates=touched,
        versions=affected_versions(steps, touched, aliases),
        listed=len(left_out(home, wanted)),
    )


def left_out(home: Home, wanted: Wanted) -> list[str]:
    """The wanted ids in the lists of what ingest left out, a row without consent for one."""
    marker = Marker(home)
    return [
        name
        for path in lists_of_left_out(home)
        for line in path.read_bytes().splitlines()
        if (name := orjson.loads(line)["id"]) is not None
        and wanted.names(marker, str(name), None)
    ]


def lists_of_left_out(home: Home) -> list[Path]:
    return sorted(home.updates.glob("arrived/*/dropped.jsonl"))


def affected_versions(
    steps: Steps, touched: Iterable[Touched], aliases: Mapping[str, Mapping[str, str]]
) -> tuple[Affected, ...]:
    """Pure: the versions with rows in their weights, and all that descend from them."""
    why = {
        (one.model, one.version): next(f for f in index.IN_THE_WEIGHTS if f in one.rows)
        for one in touched
        if any(fate in one.rows for fate in index.IN_THE_WEIGHTS)
    }
    return tuple(
        Affected(
            model=model,
            version=version,
            verdict=str(step.action),
            why=why.get((model, version), DESCENDS),
            aliases=tuple(sorted(a for a, v in aliases.get(model, {}).items() if v == version)),
        )
        for (model, version), step in steps.items()
        if (model, version) in with_descendants(steps, why) and step.adapter
    )


def aliases_of(home: Home, tracking_uri: str | None) -> dict[str, dict[str, str]]:
    """Where the aliases of every model line of the home point now."""
    models = sorted({model for model, _ in read_steps(home)})
    registry = Registry.open(home, tracking_uri) if models else None
    return {model: registry.aliases(model) for model in models} if registry else {}


def trace_record(home: Home, record_id: str, model: str | None, uri: str | None) -> Reach:
    """What one record touched, in one model line or in all.

    Raises UsageError if no stored batch and no update of the home ever held it.
    """
    wanted = Wanted(records=frozenset({Marker(home).record(record_id)}))
    reach = reach_of(home, wanted, aliases_of(home, uri))
    if model is not None:
        reach = Reach(
            batches=reach.batches,
            updates=tuple(one for one in reach.updates if one.model == model),
            versions=tuple(one for one in reach.versions if one.model == model),
            listed=reach.listed,
        )
    if not reach.found:
        raise UsageError(
            "no stored batch and no update ever held a record of this id; see that it is written "
            "as in the drop, and that --home is the home that took it in"
        )
    return reach


def show_reach(console: Console, reach: Reach) -> None:
    for batch in reach.batches:
        console.print(f"batch {batch}: holds it now", highlight=False, soft_wrap=True)
    if reach.listed:
        console.print(
            f"left out by ingest {reach.listed:,} times; it was never in a batch then"
        )
    for one in reach.updates:
        rows = ", ".join(f"{n:,} {fate}" for fate, n in sorted(one.rows.items()))
        console.print(
            f"{escape(one.model)} version {one.version} ({one.verdict}): {rows}; "
            f"update {one.update_id}, batch {one.batch}",
            highlight=False,
            soft_wrap=True,
        )
    for version in reach.versions:
        serving = f"  {', '.join(version.aliases)}" if version.aliases else ""
        console.print(
            f"affected: {escape(version.model)} version {version.version} "
            f"({version.why}){serving}",
            highlight=False,
        )
    if not reach.versions:
        console.print("no version's weights are affected")


def _touched(home: Home, wanted: Wanted, steps: Iterable[Step]) -> Iterable[Touched]:
    records, authors = (
        pa.array(sorted(m), pa.string()) for m in (wanted.records, wanted.authors)
    )
    for step in steps:
        rows = index.read(home, step.update_id, step.batch).marked(records, authors)
        if rows.num_rows:
            counted = rows.group_by("fate").aggregate([("record", "count")]).to_pylist()
            yield Touched(
                update_id=step.update_id,
                model=step.model,
                version=step.version,
                batch=step.batch,
                verdict=str(step.action),
                rows={row["fate"]: row["record_count"] for row in counted},
            )


def _holding(home: Home, wanted: Wanted) -> Iterable[str]:
    for path in sorted((home.root / "batches").glob(f"*/{RECORDS}")):
        if holds(home, path, wanted):
            yield f"sha256:{path.parent.name}"


def holds(home: Home, path: Path, wanted: Wanted) -> bool:
    """Whether a Parquet file of records has a row of the wanted ones."""
    return bool(
        pc.any(named_rows(home, pq.read_table(path, columns=["id", "user"]), wanted)).as_py()
    )
