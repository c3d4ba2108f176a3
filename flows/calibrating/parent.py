"""What twins are trained from and with: the parent, and a sample of rows that may be learned.

Rows, replayed rows and anchors are drawn once, for all twins: only the recipe's seed in
training is theirs. Text of users is only written into `work`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tidegate.evals.suite import Suite
from tidegate.flows import replay_store
from tidegate.flows.calibrating.twins import Parent
from tidegate.flows.check import Checked, check
from tidegate.flows.home import Home
from tidegate.flows.ingest import ingest
from tidegate.flows.intake.pseudonym import pseudonym_key
from tidegate.flows.line import Line, line_names, open_line
from tidegate.flows.usage import UsageError
from tidegate.gates.digest import item_order
from tidegate.gates.policy.nouns import Policy
from tidegate.gates.types import Action, Batch, Outcome, Report
from tidegate.training.anchors import make_anchors
from tidegate.training.base import find_base
from tidegate.training.recipe import Recipe


def checked_drops(
    drops: Sequence[str | Path],
    defaults: Mapping[str, object],
    policy: Policy,
    suites: Sequence[Suite],
    home: Home,
    work: Path,
    progress: Report,
) -> tuple[Batch, Checked]:
    """Drops as an update would take them. Raises UsageError if the data gates refuse them."""
    batch = ingest(
        drops,
        home=home,
        out=work,
        pseudonym_key=pseudonym_key(home),
        defaults=defaults,
        progress=progress,
    )
    checked = check(
        batch,
        policy,
        home=home,
        arrived=work,
        out=work / "check",
        protected=[text for suite in suites for text in suite.texts()],
        progress=progress,
    )
    if checked.decision.action is not Action.PROMOTE:
        stood = [r.title for r in checked.rulings if r.verdict.outcome is not Outcome.PASS]
        raise UsageError(
            f"the data gates do not let these drops be learned ({', '.join(stood)}), so they "
            "make no clean update to calibrate with; `tidegate check` says why"
        )
    return batch, checked


def sample(kept: Path, wanted: int, batch: Batch, out: Path) -> int:
    """Write `wanted` of the rows that may be learned, chosen by the batch's digest alone.

    Returns how many there are: all of them, where there are fewer.
    """
    table = pq.read_table(kept)
    table = table.filter(pc.equal(table["learn"], "target"))
    ids = table["id"].to_pylist()
    chosen = set(item_order(ids, batch.digest)[:wanted])
    if not chosen:
        raise UsageError("the drops hold no row that may be learned")
    places = [i for i, name in enumerate(ids) if name in chosen]
    pq.write_table(table.take(pa.array(places, pa.int64())), out)
    return len(places)


def prepared(
    recipe: Recipe,
    model: str | None,
    new: Path,
    rows: int,
    checked: Checked,
    home: Home,
    work: Path,
    tracking_uri: str | None,
    progress: Report,
) -> Parent:
    """The champion of a model line, or the recipe's bare base, and what goes with it."""
    line = _line(model, recipe, home, tracking_uri, progress)
    base = line.base if line else find_base(recipe.base, home.cache, progress)
    adapter = line.champion.adapter if line else None
    digest = line.champion.candidate.digest if line else base.digest
    replay = None
    if line and recipe.replay:
        wanted = round(recipe.replay.share * rows)
        replay = replay_store.draw(
            home, line.lineage(), wanted, recipe.seed, checked.refused, work / "replay.parquet"
        ).path
    anchors = None
    if recipe.answers:
        anchors = make_anchors(
            recipe, base, adapter, digest, cache=home.cache, progress=progress
        )
    return Parent(
        base=base,
        digest=digest,
        adapter=adapter,
        recipe=recipe,
        new=new,
        replay=replay,
        anchors=anchors,
        past=line.accepted(recipe) if line else (),
    )


def _line(
    model: str | None, recipe: Recipe, home: Home, tracking_uri: str | None, progress: Report
) -> Line | None:
    if model is None:
        return None
    known = line_names(home)
    if model not in known:  # opening it would bless a base: not for a measurement to do
        names = ", ".join(sorted(known)) or "none yet"
        raise UsageError(f"there is no model line {model!r} in {home.root}; it has {names}")
    return open_line(model, recipe.base, home, tracking_uri, progress)
