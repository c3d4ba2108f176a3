"""From a version back to the base: what each step learned and replayed, and its statement."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tidegate.flows.home import Home
from tidegate.flows.registry import Registry
from tidegate.flows.tracing import index
from tidegate.flows.tracing.steps import ancestry, read_steps
from tidegate.flows.usage import UsageError
from tidegate.gates.types import Digest, Noun


class Learning(Noun):
    """One step of a version's way from the base."""

    version: str
    parent: str
    verdict: str
    update_id: str
    batch: Digest
    rows: dict[str, int]  # by fate: learned, kept, refused, replayed
    adapter: Digest | None
    statement: Digest
    decided_at: str


class VersionLineage(Noun):
    """A version, and every step that led to it from the base, newest first."""

    model: str
    version: str
    base: str  # the version that is the bare base
    steps: tuple[Learning, ...]


def trace_version(home: Home, model: str, version: str, uri: str | None) -> VersionLineage:
    """The way of a version, or of an alias's, from the base.

    Raises UsageError if the ledger has no such version, RegistryError and BrokenLedger.
    """
    aliases = Registry.open(home, uri).aliases(model)
    number, steps = aliases.get(version, version), read_steps(home)
    base = aliases.get("anchor")
    if number != base and (model, number) not in steps:
        raise UsageError(
            f"the ledger decided about no version {version} of {model!r}; see: tidegate ui"
        )
    way = ancestry(steps, model, number)
    return VersionLineage(
        model=model,
        version=number,
        base=way[-1].parent if way else number,
        steps=tuple(
            Learning(
                version=step.version,
                parent=step.parent,
                verdict=str(step.action),
                update_id=step.update_id,
                batch=step.batch,
                rows=_counts(home, step.update_id, step.batch),
                adapter=step.adapter,
                statement=step.statement,
                decided_at=step.decided_at.isoformat(),
            )
            for step in way
        ),
    )


def show_version(console: Console, found: VersionLineage) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("version", "verdict", "learned", "replayed", "batch", "statement"):
        table.add_column(column, overflow="fold")
    for step in found.steps:
        table.add_row(
            step.version,
            step.verdict,
            *(f"{step.rows.get(fate, 0):,}" for fate in index.IN_THE_WEIGHTS),
            *(digest.removeprefix("sha256:")[:16] for digest in (step.batch, step.statement)),
        )
    console.print(f"{escape(found.model)} version {found.version}, from the base back:")
    console.print(table)
    console.print(f"version {found.base} is the base")


def _counts(home: Home, update_id: str, batch: str) -> dict[str, int]:
    trace = index.read(home, update_id, batch)
    counted = {
        fate: trace.count(fate)
        for fate in (index.LEARNED, index.KEPT, index.REFUSED, index.REPLAYED)
    }
    return {fate: n for fate, n in counted.items() if n}
