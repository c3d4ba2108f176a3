"""Two whole updates: the second contradicts the first, and an erasure reaches what says so."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.checking import lines
from tests.drops import row, rows, write
from tests.lineage_world import World as Lineage
from tests.test_update import RECIPE
from tests.tiny import tiny_base
from tidegate.flows.context.store import entries
from tidegate.flows.erasing import stores
from tidegate.flows.home import Home
from tidegate.flows.ledger import Ledger
from tidegate.flows.one_update import UpdateResult
from tidegate.flows.tracing.marks import Marker
from tidegate.flows.tracing.wanted import Wanted
from tidegate.gates.types import Action

POLICY = """\
policy: tiny
version: 1
why: what becomes of contradictions is under test, and not a model of 27 thousand weights
data:
  - {gate: fits_schema, min_rows: 20, why: t}
  - {gate: no_contradictions, look_up: dated, quarantine: true, max_share: 0, why: t}
model:
  - {gate: serves, max_empty_share: 1.0, why: t}
"""
FINE, TRAM = "How much is the fine for a late book?", "Which tram line goes to the library?"


class World:
    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, Home(folder / "home")
        recipe = RECIPE.replace("BASE", str(tiny_base(folder / "base")))
        (folder / "recipe.yaml").write_text(
            recipe.replace("METHOD", "lora").replace("epochs: 3", "epochs: 1")
        )
        (folder / "policy.yaml").write_text(POLICY)

    def update(self, name: str, *more: dict[str, Any]) -> UpdateResult:
        from tidegate.flows.update import update

        drop = [{**one, "id": f"{name}{one['id']}"} for one in (*rows(24), *more)]
        result: UpdateResult = update(
            drops=[str(write(self.folder / f"{name}.jsonl", drop))],
            policy=str(self.folder / "policy.yaml"),
            recipe=str(self.folder / "recipe.yaml"),
            floor=str(self.folder / "policy.yaml"),
            model="tiny",
            home=str(self.home.root),
        )
        return result


def reason(result: UpdateResult) -> str:
    return next(r.verdict.reason for r in result.decision.rulings if "contra" in r.gate)


@pytest.mark.slow
def test_what_contradicts_an_earlier_update_is_looked_up_or_waits(tmp_path: Path) -> None:
    world = World(tmp_path)
    first = world.update(
        "a", row(90, FINE, "It is 3 euros."), row(91, TRAM, "It is line 4 there.")
    )
    assert first.decision.action is Action.PROMOTE, first.decision
    assert "compared with 0 learned records" in reason(first) and not entries(world.home)

    later = "2027-01-01T00:00:00+00:00"
    second = world.update(
        "b",
        row(90, FINE, "It is 5 euros.", valid_from=later),
        row(91, TRAM, "It is line 9 there."),
    )
    assert second.decision.action is Action.PROMOTE, second.decision
    said = reason(second)
    assert (
        "(2 before routing: 2 by number; 1 looked up; compared with 26 learned records)" in said
    )
    statement = dict(Ledger(world.home.ledger).read())[second.statement]
    assert said in json.dumps(statement), "the reason is signed"
    assert "euros" not in json.dumps(statement)

    (_, entry), *rest = entries(world.home)
    assert (entry.id, entry.answer, entry.why) == ("bt-00090", "It is 5 euros.", "later")
    assert entry.valid_from == datetime(2027, 1, 1, tzinfo=UTC) and not rest
    work = world.home.updates / second.update_id
    learned = pq.read_table(work / "learnable.parquet")["id"].to_pylist()
    assert len(learned) == 24 and not {"bt-00090", "bt-00091"} & set(learned)
    said_of = {one["id"]: one for one in lines(work / "check" / "records.jsonl")}
    assert said_of["bt-00090"]["action"] == "keep"
    assert said_of["bt-00091"]["action"] == "quarantine"
    assert lines(work / "check" / "contradictions.jsonl") == [
        {"id": f"bt-{n}", "other": f"at-{n}", "similarity": 1.0, "differ": ["number"],
         "of": "learned", "later": how}
        for n, how in (("00090", "dated"), ("00091", None))
    ]  # fmt: skip


def test_an_erasure_reaches_what_a_contradiction_names(tmp_path: Path) -> None:
    world = Lineage(tmp_path)
    a, b = world.batch(0), world.batch(10)
    world.update(2, 1, a)
    path = world.home.updates / world.update(3, 2, b) / "check" / "contradictions.jsonl"
    pairs = [("r10", "r1"), ("r11", "r2"), ("r1", "r12")]
    write(path, [{"id": one, "other": other} for one, other in pairs])
    wanted = Wanted(frozenset({Marker(world.home).record("r1")}))
    stores.forget_in_updates(world.home, wanted)
    assert [line["id"] for line in lines(path)] == ["r11"]
