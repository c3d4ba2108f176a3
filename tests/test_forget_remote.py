"""Forgetting in two model lines at once, whose registry is a server with accounts and a store."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.drops import rows, write
from tests.services import Store, Tracking, object_store, postgres, tracking
from tests.test_forget import AUTHOR, ROWS, SECRET
from tests.test_update import World
from tidegate.flows.erasing.forget import Forgotten, forget, plan_of, wanted_of
from tidegate.flows.erasing.plan import Plan
from tidegate.flows.erasing.verify import search
from tidegate.flows.ledger import Ledger
from tidegate.flows.one_update import UpdateResult
from tidegate.flows.reconciling.compare import compare
from tidegate.flows.registry import Registry, RegistryError
from tidegate.flows.tracing.version import trace_version
from tidegate.flows.usage import UsageError
from tidegate.gates.types import Action, ignore_progress

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("floor_of_batches")]

LINES = ("other", "tiny")


@dataclass(frozen=True)
class Erasure:
    world: World
    server: Tracking
    store: Store
    updates: dict[str, UpdateResult]
    plan: Plan
    arguments: dict[str, Any]
    stored_before: list[str]
    done: Forgotten

    def registry(self) -> Registry:
        return Registry.open(self.world.home, self.server.url)


@pytest.fixture(scope="module")
def erasure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Erasure]:
    from tidegate.flows.update import update

    folder = tmp_path_factory.mktemp("remote")
    with (
        postgres("mlflow", "mlflow_accounts") as database,
        object_store(folder) as store,
        tracking(folder, database, store) as server,
        pytest.MonkeyPatch.context() as environment,
    ):
        for name, value in server.account("admin").items():
            environment.setenv(name, value)
        world = World(folder / "world")
        drop = write(world.clean, [*rows(30), *ROWS])
        updates = {
            line: update(
                **{**world.arguments(drop), "model": line}, tracking_uri=server.url
            )
            for line in LINES
        }  # fmt: skip
        wanted = wanted_of(world.home, [], [AUTHOR])
        plan = plan_of(world.home, wanted, None, server.url)
        before = store.names()
        arguments = {
            "records": sorted(wanted.records),
            "authors": sorted(wanted.authors),
            "home": str(world.home.root),
            "tracking_uri": server.url,
        }
        done = forget(**arguments)
        yield Erasure(world, server, store, updates, plan, arguments, before, done)


def test_both_lines_are_reached_and_rebuilt(erasure: Erasure) -> None:
    assert {u.decision.action for u in erasure.updates.values()} == {Action.PROMOTE}
    assert [line.model for line in erasure.plan.lines] == list(LINES)
    assert erasure.done.exit_code == 0, erasure.done
    assert [(r.model, r.of, r.action) for r in erasure.done.state.rebuilt] == [
        (line, "2", Action.PROMOTE) for line in LINES
    ]
    for line in LINES:
        assert erasure.registry().aliases(line)["champion"] == "3"
        way = trace_version(erasure.world.home, line, "champion", erasure.server.url)
        assert way.steps[0].rows["learned"] == 30 and way.base == "1"


def test_each_line_has_an_act_of_its_own(erasure: Erasure) -> None:
    acts = [r["predicate"] for _, r in Ledger(erasure.world.home.ledger).read()]
    assert [(a["act"], a["model"]) for a in acts if a["act"] in ("forget", "erase")] == [
        ("forget", ""), ("erase", "other"), ("erase", "tiny"),
    ]  # fmt: skip
    assert all(a["about"]["exact"] for a in acts if a["act"] == "erase")


def test_the_weights_are_gone_from_the_store(erasure: Erasure) -> None:
    def weights(names: list[str], run: str) -> list[str]:
        return [n for n in names if run in n and n.endswith(".safetensors")]

    now = erasure.store.names()
    for line, update in erasure.updates.items():
        assert weights(erasure.stored_before, update.run_id)
        assert not weights(now, update.run_id)
        with pytest.raises(RegistryError):
            erasure.registry().load(line, update.version)
        assert erasure.registry().load(line, "3").adapter is not None


def test_ledger_and_registry_agree(erasure: Erasure) -> None:
    found = compare(erasure.world.home, None, erasure.server.url)
    assert found.exit_code == 0, found


def test_what_every_run_left_on_the_server_is_searched(
    erasure: Erasure, tmp_path: Path
) -> None:
    """Files of the same name in two runs: the first is not hidden by the second."""
    registry = erasure.registry()
    wanted = wanted_of(erasure.world.home, [], [AUTHOR])
    runs = [erasure.updates[line].run_id for line in LINES]
    note = tmp_path / "note.txt"
    from tidegate.flows.erasing import texts
    from tidegate.flows.intake.home_key import write_private

    state = erasure.done.state
    looked_for = texts.Texts(pieces=(f"The {SECRET} key is under the",), shared=0)
    place = texts.place(erasure.world.home, state.request)
    write_private(place, looked_for.model_dump_json().encode())
    try:
        for run, text in zip(runs, (f"The {SECRET} key is under the mat", "fine"), strict=True):
            note.write_text(text)
            registry.client.log_artifact(run, str(note))
        seen = search(erasure.world.home, registry, state, wanted, ignore_progress)
        assert seen.found == (f"mlflow:{runs[0]}/note.txt",)
    finally:
        place.unlink()


def test_one_line_alone_is_refused(erasure: Erasure) -> None:
    wanted = wanted_of(erasure.world.home, [], ["cust-001"])
    with pytest.raises(UsageError, match="other"):
        plan_of(erasure.world.home, wanted, "tiny", erasure.server.url)


def test_the_same_command_again_changes_nothing(erasure: Erasure) -> None:
    lines = erasure.world.home.ledger.read_bytes()
    assert forget(**erasure.arguments).state.statements == erasure.done.state.statements
    assert erasure.world.home.ledger.read_bytes() == lines
    assert not {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} & set(os.environ)
