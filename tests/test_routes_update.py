"""Whole updates with a recipe that has routes: what is learned, looked up, and left for a module."""

import json
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
from tidegate.flows.erasing.forget import forget, wanted_of
from tidegate.flows.home import Home
from tidegate.flows.ledger import Ledger
from tidegate.flows.looking_back.history import Past, entry_of, read_past
from tidegate.flows.one_update import UpdateResult
from tidegate.flows.routing import modules
from tidegate.flows.tracing.marks import Marker
from tidegate.flows.tracing.record import trace_record
from tidegate.flows.tracing.wanted import Wanted
from tidegate.gates.types import Action

POLICY = """\
policy: tiny
version: 1
why: where records go is under test, and not a model of 27 thousand weights
data:
  - {gate: fits_schema, min_rows: 4, why: t}
model:
  - {gate: serves, max_empty_share: 1.0, why: t}
"""
ROUTES = """\
routes:
  - {to: context, when: volatile, why: a weight cannot be told to expire}
  - {to: module, module: billing, when: source, sources: [billing], why: must stay removable}
"""
BILLS = ("first", "second", "third", "fourth", "fifth")
DEPOSIT = "Zanzibarquokka"  # a word of one bill only


class World:
    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, Home(folder / "home")
        plain = RECIPE.replace("BASE", str(tiny_base(folder / "base")))
        plain = plain.replace("METHOD", "lora").replace("epochs: 3", "epochs: 1")
        (folder / "plain.yaml").write_text(plain)
        (folder / "routes.yaml").write_text(plain + ROUTES)
        (folder / "policy.yaml").write_text(POLICY)

    def update(self, drop: Path, recipe: str, model: str = "tiny") -> UpdateResult:
        from tidegate.flows.update import update

        result: UpdateResult = update(
            drops=[str(drop)],
            policy=str(self.folder / "policy.yaml"),
            recipe=str(self.folder / recipe),
            floor=str(self.folder / "policy.yaml"),
            model=model,
            home=str(self.home.root),
        )
        return result

    def evidence(self, result: UpdateResult) -> dict[str, tuple[float, int]]:
        statement = dict(Ledger(self.home.ledger).read())[result.statement]
        past = read_past(self.home, entry_of(result.statement, statement))
        assert isinstance(past, Past) and past.evidence_model is not None
        return {m.name: (m.value, m.n) for m in past.evidence_model.measurements}


def bills() -> list[dict[str, Any]]:
    made = [
        row(90 + n, f"What is on the {nth} bill?", f"The {nth} bill is about {n + 3} crowns.")
        for n, nth in enumerate(BILLS)
    ]
    made.append(
        row(99, "What is the deposit?", f"The deposit is held by {DEPOSIT} for a year.")
    )
    return [{**one, "source": "billing", "user": f"payer-{n}"} for n, one in enumerate(made)]


@pytest.mark.slow
def test_an_update_leaves_a_module_for_a_line_of_its_own(tmp_path: Path) -> None:
    world = World(tmp_path)
    spoken = row(80, "Is the office open?", "The office is closed today.")
    drop = write(tmp_path / "drop.jsonl", [*rows(24), spoken, *bills()])
    first = world.update(drop, "routes.yaml")
    assert first.decision.action is Action.PROMOTE, first.decision

    work = world.home.updates / first.update_id
    learned = pq.read_table(work / "learnable.parquet")["id"].to_pylist()
    assert learned == [one["id"] for one in rows(24)]
    measured = world.evidence(first)
    assert measured["routes.1.context.records@candidate"] == (1, 31)
    assert measured["routes.2.module.share@candidate"] == (6 / 31, 31)
    assert measured["context.share@candidate"] == (1 / 31, 31)
    ((_, entry),) = entries(world.home)
    assert (entry.why, entry.reason) == ("volatile", "a weight cannot be told to expire")
    (left,) = first.modules
    assert (left.model, left.records) == ("tiny-billing", 6)
    assert first.as_document()["modules"] == [
        {"model": "tiny-billing", "path": str(left.path), "records": 6, "command": left.command}
    ]
    said = " ".join(first.report.read_text().split())
    assert "decided about 1 of 31 kept records, to: context. Its reason: a weight" in said
    assert "6 records wait for the line &#39;tiny-billing&#39;, and nothing trains it" in said
    assert "to: module, module: billing, when: source, sources:" in said
    statement = dict(Ledger(world.home.ledger).read())[first.statement]
    assert DEPOSIT not in json.dumps(statement) + (work / "routes.jsonl").read_text()
    again = world.update(drop, "routes.yaml")
    assert (again.repeated, again.modules) == (True, first.modules)

    second = world.update(left.path, "plain.yaml", "tiny-billing")
    assert second.decision.action is Action.PROMOTE, second.decision
    assert second.model == "tiny-billing" and not second.modules
    reach = trace_record(world.home, "t-00099", None, None)
    assert [(v.model, v.version) for v in reach.versions] == [("tiny-billing", second.version)]
    assert {one.model: one.rows for one in reach.updates} == {
        "tiny": {"kept": 1},
        "tiny-billing": {"learned": 1},
    }

    wanted = wanted_of(world.home, [], ["payer-5"])
    gone = forget(
        records=sorted(wanted.records),
        authors=sorted(wanted.authors),
        home=str(world.home.root),
        reason="a test",
        again=False,
    )
    assert [w.model for w in gone.state.plan.weights] == ["tiny-billing"], "and no other line"
    assert gone.state.verified is not None and gone.state.verified.exact
    (path,) = modules.files(world.home)
    assert len(lines(path)) == 5 and DEPOSIT not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.slow
def test_an_update_of_a_module_alone_has_nothing_to_learn(tmp_path: Path) -> None:
    world = World(tmp_path)
    result = world.update(write(tmp_path / "drop.jsonl", bills()), "routes.yaml")
    assert (result.decision.action, result.exit_code) == (Action.HOLD, 4)
    assert (
        "6 wait in drops of modules; none is left" in result.decision.rulings[-1].verdict.reason
    )
    assert [drop.records for drop in result.modules] == [6]
    reach = trace_record(world.home, "t-00099", None, None)
    assert [one.rows for one in reach.updates] == [{"kept": 1}] and not reach.versions


@pytest.mark.parametrize("by", ["record", "author"])
@pytest.mark.parametrize(
    ("kept", "now", "left"),
    [(("r1", "r2"), "b" * 64, ["r2"]), (("r1",), "b" * 64, []), (("r1", "r2"), None, [])],
)
def test_an_erasure_reaches_drops_and_lists(
    tmp_path: Path, by: str, kept: tuple[str, ...], now: str | None, left: list[str]
) -> None:
    world = Lineage(tmp_path)
    batch = world.batch(0)
    given = {one["id"]: one for one in world.rows(batch).to_pylist()}
    drop = [modules.line(given[name], masked=False) for name in kept]
    modules.put(world.home, "tiny", batch, {"billing": drop})
    work = world.home.updates / world.update(2, 1, batch)
    named = [{"id": name, "to": "module", "rule": 1, "why": "t"} for name in ("r1", "r2")]
    listed = write(work / "routes.jsonl", named)

    marker = Marker(world.home)
    record = Wanted(records=frozenset({marker.record("r1")}))
    wanted = (
        record
        if by == "record"
        else Wanted(authors=frozenset({marker.author(given["r1"]["user"])}))
    )
    replaced = {batch: now and f"sha256:{now}"}
    for _ in range(2):  # killed after it, it is done again
        stores.forget_modules(world.home, wanted, replaced)
    found = {
        path.stem: [one["id"] for one in lines(path)] for path in modules.files(world.home)
    }
    assert found == ({now: left} if left else {})
    stores.forget_in_updates(world.home, record)
    assert [one["id"] for one in lines(listed)] == ["r2"]
