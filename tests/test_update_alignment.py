"""Two whole updates under the gates on alignment, forgetting and time, on a tiny model."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.test_time_and_consequences import probe, written
from tests.test_update import RECIPE, outcomes, rows, write
from tests.tiny import tiny_base
from tidegate.evals.suite import SuiteError
from tidegate.flows.context.store import entries
from tidegate.flows.home import Home
from tidegate.flows.ledger import Ledger
from tidegate.flows.one_update import UpdateResult
from tidegate.gates.types import Action

pytestmark = pytest.mark.slow

POLICY = """\
policy: tiny
version: 1
why: wide margins, because the mechanism is under test and not a model of 27 thousand weights
statistics: {on_inconclusive: hold}
data:
  - {gate: fits_schema, min_rows: 20, why: t}
model:
  - {gate: stays_aligned, than: {champion: 50.0}, why: t}
  - {gate: no_forgetting, champion: 50.0, learned: 50.0, worst: 50.0, why: t}
  - {gate: drift_within_budget, allowance: {alignment: 90.0}, why: t}
  - {gate: keeps_time_apart, kept: 0.001, known: 0.001, why: t}
  - {gate: serves, max_empty_share: 1.0, why: t}
"""


class World:
    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, Home(folder / "home")
        recipe = RECIPE.replace("BASE", str(tiny_base(folder / "base")))
        (folder / "recipe.yaml").write_text(recipe.replace("METHOD", "lora"))
        (folder / "policy.yaml").write_text(POLICY)
        kinds = ("now", "as_of", "invariant")
        # Whichever name the model prefers, it has half of them right.
        names = (("Ada", "Bo"), ("Bo", "Ada"))
        probes = [
            probe(n, kind, answer=f"{right}.", distractors=[f"{wrong}."])
            for kind in kinds
            for n in range(60)
            for right, wrong in [names[n % 2]]
        ]
        self.probes = written(folder / "probes.jsonl", *probes)

    def update(self, records: list[dict[str, Any]], probes: bool = True) -> UpdateResult:
        from tidegate.flows.update import update

        name = f"drop-{records[0]['id']}.jsonl"
        result: UpdateResult = update(
            drops=[str(write(self.folder / name, records))],
            policy=str(self.folder / "policy.yaml"),
            recipe=str(self.folder / "recipe.yaml"),
            floor=str(self.folder / "policy.yaml"),
            model="tiny",
            home=str(self.home.root),
            probes=str(self.probes) if probes else None,
        )
        return result


def dated(prefix: str) -> list[dict[str, Any]]:
    """Forty records, of which five end."""
    made = [{**row, "id": f"{prefix}{row['id']}"} for row in rows(40)]
    ends = {"valid_until": "2031-01-01T00:00:00+00:00"}
    return [{**row, **ends} if n < 5 else row for n, row in enumerate(made)]


def reasons(result: UpdateResult) -> dict[str, str]:
    return {r.gate: r.verdict.reason for r in result.decision.rulings}


def test_two_updates_of_a_line(tmp_path: Path) -> None:
    world = World(tmp_path)
    with pytest.raises(SuiteError, match="no probes were given; give --probes"):
        world.update(dated("a"), probes=False)
    first = world.update(dated("a"))
    assert first.decision.action is Action.PROMOTE, reasons(first)
    assert "there is no earlier update" in reasons(first)["no_forgetting"]
    said = reasons(first)["keeps_time_apart"]
    assert "kept records are looked up and not learned" in said and not said.startswith("0%")
    stored = entries(world.home)
    assert {entry.why for _, entry in stored} >= {"dated"}
    assert sum(entry.why == "dated" for _, entry in stored) == 5
    statement = dict(Ledger(world.home.ledger).read())[first.statement]
    said = json.dumps(statement)
    assert not any(entry.answer in said for _, entry in stored), "no text in the ledger"

    second = world.update(dated("b"))
    assert second.decision.action is Action.PROMOTE, reasons(second)
    assert "over 1 earlier updates backward transfer is" in reasons(second)["no_forgetting"]
    assert len(entries(world.home)) == 2 * len(stored)
    assert outcomes(first).keys() == outcomes(second).keys()
