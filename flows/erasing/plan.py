"""What an erasure reaches, and the cheapest way to a model that never saw the rows.

Pure: from the ledger's versions and the lineage to a plan. For each model line whose champion
is affected, the rebuild starts at the last clean ancestor and repeats the recorded updates that
led to the champion, in their order, without the rows. Nothing before that ancestor is trained
again, and nothing that was not promoted.
"""

from collections.abc import Mapping

from rich.console import Console
from rich.markup import escape

from tidegate.flows.repeating import Again, again
from tidegate.flows.tracing.index import REPLAYED
from tidegate.flows.tracing.record import Affected, Reach
from tidegate.flows.tracing.steps import Steps, chain
from tidegate.gates.types import Digest, Noun


class LinePlan(Noun):
    """A model line whose champion is affected."""

    model: str
    champion: str
    ancestor: str  # the last version before the rows: it serves until the rebuild is promoted
    rebuild: tuple[Again, ...]


class Weights(Noun):
    """An adapter that may hold something of the rows, and has to go."""

    model: str
    version: str
    update_id: str
    adapter: Digest


class Unfinished(Noun):
    """Weights of an update that was killed before its statement, in MLflow or in its folder."""

    model: str
    update_id: str
    run_id: str
    version: str | None  # None: it was killed before it had one
    adapter: Digest | None


class Plan(Noun):
    """The blast radius and what is done about it. Digests, versions and counts only."""

    batches: tuple[Digest, ...]
    updates: tuple[str, ...]  # that were given a row, or drew one
    rows: dict[str, int]  # by fate, over all updates
    versions: tuple[Affected, ...]
    weights: tuple[Weights, ...]
    lines: tuple[LinePlan, ...]
    listed: int = 0  # lines that name the rows in lists of what ingest left out
    unfinished: tuple[Unfinished, ...] = ()  # found once the lines are held (unfinished.py)

    @property
    def going(self) -> tuple[Weights | Unfinished, ...]:
        """All weights that have to go."""
        return (*self.weights, *self.unfinished)

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(sorted({version.model for version in self.versions}))


def make_plan(steps: Steps, reach: Reach, aliases: Mapping[str, Mapping[str, str]]) -> Plan:
    """aliases: by model, which version each alias points at now."""
    affected = {(v.model, v.version) for v in reach.versions}
    rows: dict[str, int] = {}
    for one in reach.updates:
        for fate, count in one.rows.items():
            rows[fate] = rows.get(fate, 0) + count
    # Of updates too: a purged batch is gone, and its kept rows are not.
    given = {one.batch for one in reach.updates if set(one.rows) - {REPLAYED}}
    return Plan(
        batches=tuple(sorted({*reach.batches, *given})),
        updates=tuple(one.update_id for one in reach.updates),
        rows=rows,
        versions=reach.versions,
        weights=tuple(
            Weights(model=m, version=v, update_id=step.update_id, adapter=step.adapter)
            for (m, v), step in steps.items()
            if (m, v) in affected and step.adapter is not None
        ),
        lines=tuple(
            line
            for model, now in sorted(aliases.items())
            if "champion" in now
            and (line := _line(steps, model, now["champion"], affected)) is not None
        ),
        listed=reach.listed,
    )


def _line(
    steps: Steps, model: str, champion: str, affected: set[tuple[str, str]]
) -> LinePlan | None:
    way = [s for s in chain(steps, model, champion) if (model, s.version) in affected]
    if not way:
        return None
    return LinePlan(
        model=model,
        champion=champion,
        ancestor=way[0].parent,
        rebuild=tuple(again(step) for step in way),
    )


def show_plan(console: Console, plan: Plan) -> None:
    fates = ", ".join(f"{n:,} {fate}" for fate, n in sorted(plan.rows.items())) or "no update"
    console.print(f"reaches {len(plan.batches)} batches; rows in updates: {fates}")
    if plan.listed:
        console.print(f"left out by ingest {plan.listed:,} times: those lines go")
    for version in plan.versions:
        serving = f", {', '.join(version.aliases)} now" if version.aliases else ""
        console.print(
            f"  {escape(version.model)} version {version.version}: {version.why}{serving}; "
            "its weights go",
            highlight=False,
        )
    for line in plan.lines:
        again = ", ".join(step.version for step in line.rebuild)
        console.print(
            f"  {escape(line.model)}: version {line.ancestor} serves instead of "
            f"{line.champion}; then the updates of versions {again} are repeated without the "
            f"rows ({len(line.rebuild)} trainings)",
            highlight=False,
        )
    if not plan.lines:
        console.print("  no version that serves is affected: nothing is trained again")
