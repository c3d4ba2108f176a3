"""A never-trained twin of a rebuilt version, and the exam that tells the two apart, or does not.

The twin learns what the rebuilt version learned, from the same clean ancestor on, with other
seeds. It is never registered and serves nobody.
"""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tidegate.evals.recall import Exam, make_exam
from tidegate.evals.samples import Unusable
from tidegate.flows.asked import recorded_rules
from tidegate.flows.erasing.plan import LinePlan
from tidegate.flows.erasing.tombstones import Erased
from tidegate.flows.home import Home
from tidegate.flows.learned import learned_rows
from tidegate.flows.ledger import Ledger
from tidegate.flows.line import accepted_adapters
from tidegate.flows.made_suites import held_out, made_before
from tidegate.flows.registry import ModelVersionInfo, Registry
from tidegate.flows.tracing.steps import Step
from tidegate.flows.tracing.wanted import Wanted, named_rows
from tidegate.flows.usage import UsageError
from tidegate.gates.types import Report
from tidegate.training.anchors import make_anchors
from tidegate.training.base import Base
from tidegate.training.blend import blend
from tidegate.training.recipe import Recipe
from tidegate.training.train import train

SEEDS = 1 << 32


def exam_of(home: Home, line: LinePlan, wanted: Wanted, place: Path, seed: int) -> Exam:
    """From the rows as the line's updates learned them; wrong answers are of rows that stay."""
    mine, others = [], []
    for again in line.rebuild:
        work = home.updates / again.update_id
        for path in (learned_rows(work), work / "replay.parquet"):
            if path.exists():
                rows = pq.read_table(path)
                named = named_rows(home, rows, wanted)
                mine.append(rows.filter(named))
                others.append(rows.filter(pc.invert(named)))
    if not sum(rows.num_rows for rows in mine):
        raise Unusable("none of the rows that were learned is stored any more")
    paths = (place / "mine.parquet", place / "others.parquet")
    try:
        for path, tables in zip(paths, (mine, others), strict=True):
            path.touch(mode=0o600)
            pq.write_table(_once(pa.concat_tables(tables, promote_options="default")), path)
        return make_exam(*paths, seed)
    finally:
        for path in paths:
            path.unlink(missing_ok=True)


def _once(rows: pa.Table) -> pa.Table:
    """Each id once: what is rehearsed by a later update was learned by an earlier one."""
    first = {name: n for n, name in reversed([*enumerate(rows["id"].to_pylist())])}
    return rows.take(pa.array(sorted(first.values()), pa.int64()))


def train_twin(
    home: Home, base: Base, ancestor: ModelVersionInfo, registry: Registry, way: Sequence[Step],
    place: Path, progress: Report,
) -> tuple[Path, str]:  # fmt: skip
    """The same updates from the ancestor on, with other seeds; its adapter and digest.

    way: the updates that made the rebuilt version, oldest first. Raises what training raises, and
    UsageError if an erased row is among what would be learned.
    """
    parent, digest = ancestor.adapter, ancestor.candidate.digest
    made_here: list[Path] = []  # what the twin's own updates came to, newest first
    erased = Erased(home)
    for number, step in enumerate(way):
        recipe = recorded_rules(home, step.update_id)[1]
        work = home.updates / step.update_id
        new, replay = learned_rows(work), work / "replay.parquet"
        drawn = replay if replay.exists() else None
        for rows in filter(None, (new, drawn)):
            erased.refuse(rows)  # else the twin would know them too, and nothing would be seen
        anchors = (
            make_anchors(recipe, base, parent, digest, cache=home.cache, progress=progress)
            if recipe.answers
            else None
        )
        before = accepted_adapters(home, registry, ancestor.name, ancestor.version, recipe)
        made = train(
            other_seed(recipe),
            base,
            parent=parent,
            new=new,
            replay=drawn,
            anchors=anchors,
            work=place / f"update-{number}",
            past=(*made_here, *before),
            # Without the shipped suites: of these a twin may make a row more than the rebuild did.
            held_out=held_out(made_before(work)) if recipe.expand else None,
            progress=progress,
        )
        adapter, digest = made.adapter, made.digest
        if recipe.scale:
            scaled = blend(parent, adapter, _scale(home, step), place / f"scaled-{number}")
            adapter, digest = scaled.adapter, scaled.digest
        parent = adapter
        made_here.insert(0, adapter)
    if parent is None:
        raise UsageError("nothing was trained after the clean ancestor")
    return parent, digest


def other_seed(recipe: Recipe) -> Recipe:
    return recipe.model_copy(update={"seed": (recipe.seed + 1) % SEEDS})


def _scale(home: Home, step: Step) -> float:
    """The share of what training changed that the rebuilt version went with."""
    record = Ledger(home.ledger).find(step.statement)
    training = record["predicate"]["about"].get("training") if record else None
    if training is None or "scale" not in training["after"]:
        raise UsageError(f"the statement {step.statement} does not say which share was taken")
    return float(training["after"]["scale"])
