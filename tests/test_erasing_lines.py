"""Model lines in an erasure: what moves them meanwhile, and how they are rebuilt."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.waiver_world import BASE, World, empty_database, world
from tidegate.flows.erasing import stores, weights
from tidegate.flows.erasing.forget import _act_forget, plan_of, wanted_of
from tidegate.flows.erasing.plan import LinePlan, make_plan
from tidegate.flows.erasing.rebuild import finished, rebuild
from tidegate.flows.erasing.rounds import begun
from tidegate.flows.erasing.state import Rebuilt, State, load, request_of, save
from tidegate.flows.erasing.stopped import stopped
from tidegate.flows.erasing.texts import Texts, place
from tidegate.flows.erasing.unfinished import unfinished
from tidegate.flows.erasing.verify import search
from tidegate.flows.home import Home
from tidegate.flows.intake.home_key import write_private
from tidegate.flows.locks import one_at_a_time
from tidegate.flows.repeating import Again
from tidegate.flows.rollback import rollback
from tidegate.flows.tracing import index
from tidegate.flows.tracing.record import aliases_of, reach_of
from tidegate.flows.tracing.steps import read_steps
from tidegate.flows.tracing.wanted import Wanted
from tidegate.flows.usage import UsageError
from tidegate.gates.digest import digest_bytes
from tidegate.gates.types import Action, Candidate, ignore_progress
from tidegate.training.adapter_digest import adapter_digest

__all__ = ["empty_database", "world"]
EMPTIED, SMALLER = digest_bytes(b"of the erased author alone"), digest_bytes(b"u-late")


def asked(world: World) -> tuple[Wanted, State]:
    """An erasure whose plan is saved, and that was stopped or killed just behind that."""
    wanted = wanted_of(world.home, ["a"], [])
    aliases = aliases_of(world.home, None)
    plan = make_plan(read_steps(world.home), reach_of(world.home, wanted, aliases), aliases)
    return wanted, save(world.home, State(request=request_of(wanted), plan=plan))


def lines(state: State) -> list[tuple[str, str, list[str]]]:
    return [
        (line.champion, line.ancestor, [again.version for again in line.rebuild])
        for line in state.plan.lines
    ]


def delete(world: World, state: State) -> None:
    for one in state.plan.weights:
        weights.remove(world.registry, one, "sha256:" + "0" * 64)


@pytest.mark.parametrize("before", [(), ("u-1",)])
def test_an_update_promoted_behind_the_plan_makes_way_too(
    world: World, before: tuple[str, ...]
) -> None:
    for name in before:
        world.update(name)
    wanted, state = asked(world)
    late = world.update("u-late").version
    made = [str(n) for n in range(2, int(late) + 1)]
    with stopped(world.home, world.registry, state, wanted, None) as now:
        assert lines(now) == [(late, "1", made)]
        assert [one.version for one in now.plan.weights] == made
        delete(world, now)
    assert load(world.home, state.request) == now
    serving = world.registry.champion("m")
    assert serving is not None and serving.version == "1"


def test_what_it_took_out_of_service_itself_is_still_to_be_rebuilt(world: World) -> None:
    world.update("u-1")
    wanted, state = asked(world)
    with stopped(world.home, world.registry, state, wanted, None):
        pass  # and killed in here
    killed = load(world.home, state.request)
    assert killed is not None and world.aliases["champion"] == "1"
    with stopped(world.home, world.registry, killed, wanted, None) as now:
        assert lines(now) == [("2", "1", ["2"])]
        delete(world, now)


def test_what_a_person_took_out_of_service_is_not_rebuilt(world: World) -> None:
    world.update("u-1")
    wanted, state = asked(world)
    rollback("m", world.home, to=None, reason="it was bad", tracking_uri=None)
    with stopped(world.home, world.registry, state, wanted, None) as now:
        assert lines(now) == []
        assert [one.version for one in now.plan.weights] == ["2"]


def test_nobody_moves_a_line_while_weights_go(world: World) -> None:
    world.update("u-1")
    world.update("u-2")
    wanted, state = asked(world)
    with stopped(world.home, world.registry, state, wanted, None):
        with pytest.raises(UsageError, match="running"):
            rollback("m", world.home, to="2", reason="back", tracking_uri=None)
        with (
            pytest.raises(UsageError, match="running"),
            one_at_a_time(world.home, "m"),
        ):
            raise AssertionError("held twice")
    assert world.aliases["champion"] == "1"


@pytest.mark.parametrize("name", ["m", "m.rollback", "unborn"])
def test_it_waits_for_whoever_moves_a_line(world: World, name: str) -> None:
    """Also for the first update of a line that nobody has heard of yet."""
    world.update("u-1")
    wanted, state = asked(world)
    with (
        one_at_a_time(world.home, name),
        pytest.raises(UsageError, match="running"),
        stopped(world.home, world.registry, state, wanted, None),
    ):
        raise AssertionError("begun all the same")


def test_an_update_of_the_erased_author_alone_is_left_out_of_the_rebuild(world: World) -> None:
    _, state = asked(world)
    world.update("u-late")  # it stands for the second update, repeated
    again = [
        Again(version="8", update_id="u-8", batch=EMPTIED),
        Again(version="9", update_id="u-9", batch=SMALLER),
    ]
    line = LinePlan(model="m", champion="9", ancestor="1", rebuild=tuple(again))
    plan = state.plan.model_copy(update={"lines": (line,)})
    state = state.model_copy(update={"plan": plan, "batches": {EMPTIED: None}})
    state = rebuild(world.home, state, "rita", None)
    assert [(r.of, r.version, r.action) for r in state.rebuilt] == [
        ("8", None, None),
        ("9", "2", Action.PROMOTE),
    ]
    assert finished(state)


def erased(world: World) -> tuple[Wanted, State]:
    """Version 2 learned the row and was erased."""
    world.update("u-1")
    wanted, state = asked(world)
    with stopped(world.home, world.registry, state, wanted, None) as now:
        delete(world, now)
        _forget_rows(world)
        done = Rebuilt(model="m", of="2", batch=None, action=None)
        return wanted, save(
            world.home, now.model_copy(update={"deleted": True, "rebuilt": (done,)})
        )


def _forget_rows(world: World) -> None:
    for path in world.home.updates.glob("u-*/check/kept.parquet"):
        path.unlink()
    for path in world.home.replay.glob("*.parquet"):
        path.unlink()


def test_what_did_not_come_back_is_not_erased_again(world: World) -> None:
    wanted, state = erased(world)
    assert begun(world.home, None, state, wanted) == state
    assert plan_of(world.home, wanted, None, None) == state.plan


def test_what_came_back_is_erased_in_a_round_of_its_own(world: World) -> None:
    wanted, state = erased(world)
    world.update("u-again")  # the tombstone is gone, and the row is learned again
    plan = plan_of(world.home, wanted, None, None)
    assert load(world.home, state.request) == state, "a plan changes nothing"
    again = begun(world.home, None, state, wanted)
    assert load(world.home, state.request) == again != state
    assert (again.plan, again.round, again.deleted) == (plan, 2, False)
    assert lines(again) == [("3", "1", ["3"])]
    acts = [_act_forget(one, wanted, "a test", "rita") for one in (state, again)]
    first, second = [world.ledger.append(act) for act in acts]
    assert first != second
    with stopped(world.home, world.registry, again, wanted, None) as now:
        delete(world, now)
        _forget_rows(world)
    assert world.aliases["champion"] == "1"
    done = save(world.home, now.model_copy(update={"deleted": True}))
    assert begun(world.home, None, done, wanted) == done


def test_what_was_still_to_be_rebuilt_is_so_in_the_next_round(world: World) -> None:
    wanted, state = erased(world)
    state = state.model_copy(update={"rebuilt": ()})
    world.update("u-again")
    again = begun(world.home, None, state, wanted)
    assert lines(again) == [("3", "1", ["2", "3"])]
    with stopped(world.home, world.registry, again, wanted, None) as now:
        assert lines(now) == lines(again)


def lost(world: World, name: str, rows: list[str], *, registered: bool) -> str:
    """What an update leaves that is killed between its weights and its statement; its run."""
    parent = world.aliases["champion"]
    run_id = world.registry.runs.start_update("m", name, {"parent": parent})
    kept = world.home.updates / name / "check" / "kept.parquet"
    kept.parent.mkdir(parents=True)
    table = {"id": rows, "user": ["u_x"] * len(rows), "learn": ["target"] * len(rows)}
    pq.write_table(pa.table(table), kept)
    index.write(world.home, name, digest_bytes(name.encode()))
    adapter = world.home.updates / name / "train" / "adapter"
    adapter.mkdir(parents=True)
    (adapter / "adapter_model.safetensors").write_bytes(name.encode())
    (adapter / "adapter_config.json").write_text("{}")
    if registered:
        candidate = Candidate(base=BASE, adapter=adapter_digest(adapter), parent=parent)
        world.registry.register("m", run_id, candidate, adapter, update_id=name, tags={})
    else:
        for file in adapter.iterdir():
            world.registry.runs.log_file(run_id, file, weights.ADAPTER)
    return run_id


@pytest.mark.parametrize("registered", [True, False])
def test_weights_without_a_statement_go_too(world: World, registered: bool) -> None:
    runs = {
        name: lost(world, name, rows, registered=registered)
        for name, rows in (("u-mine", ["a", "z"]), ("u-clean", ["z"]), ("u-untold", ["z"]))
    }
    index.place(world.home, "u-untold").unlink()
    world.update("u-1")
    runs["u-child"] = lost(world, "u-child", ["z"], registered=registered)
    wanted, state = asked(world)
    with stopped(world.home, world.registry, state, wanted, None) as now:
        going = {one.update_id: one for one in now.plan.unfinished}
        assert going.keys() == {"u-mine", "u-untold", "u-child"}
        assert {bool(one.version) for one in going.values()} == {registered}
        assert unfinished(world.home, world.registry, now.plan, wanted) == now.plan.unfinished
        stores.forget_weights(world.home, going.values())
        for one in going.values():
            assert weights.left_of(world.home, world.registry, one)
            weights.remove(world.registry, one, "sha256:" + "0" * 64)
            assert not weights.left_of(world.home, world.registry, one)
    assert unfinished(world.home, world.registry, now.plan, wanted) == ()
    assert weights.still_there(world.registry, runs["u-clean"])
    assert load(world.home, state.request) == now


def test_in_a_prefect_home_of_others_only_our_results_go_and_all_is_searched(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, state = erased(world)
    shared = tmp_path / "prefect"
    monkeypatch.setenv("PREFECT_HOME", str(shared))
    (shared / "storage" / "deep").mkdir(parents=True)
    kept = {
        shared / "storage" / "1": '{"__class__": "others.Result", "data": "tidegate.flows"}',
        shared / "storage" / "2": '{"was": "3", "now": "2"}',
        shared / "prefect.db": "a log line that says: the Zanzibarquokka key",
    }
    ours = {
        shared / "storage" / "3": '{"__class__": "tidegate.flows.one_update.UpdateResult"}',
        shared / "storage" / "deep" / "4": '{"__exc_type__": "tidegate.gates.audit.Broken"}',
    }
    for path, text in {**kept, **ours}.items():
        path.write_text(text)
    stores.forget_results(world.home)
    assert {path for path in shared.rglob("*") if path.is_file()} == kept.keys()
    looked_for = Texts(pieces=("the Zanzibarquokka key",), shared=0)
    write_private(place(world.home, state.request), looked_for.model_dump_json().encode())
    seen = search(world.home, world.registry, state, wanted, ignore_progress)
    assert seen.found == ("prefect:prefect.db",)


@pytest.mark.parametrize("given", [True, False])
def test_all_results_in_a_prefect_home_of_our_own_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: bool
) -> None:
    home = Home(tmp_path / "home")
    monkeypatch.delenv("PREFECT_HOME")
    if given:
        monkeypatch.setenv("PREFECT_HOME", str(home.root / "prefect"))
    (home.root / "prefect" / "storage").mkdir(parents=True)
    (home.root / "prefect" / "storage" / "2").write_text('{"was": "3", "now": "2"}')
    stores.forget_results(home)
    assert [*(home.root / "prefect").iterdir()] == []


def test_an_update_that_was_refused_still_ends_the_rebuild() -> None:
    held = Rebuilt(model="m", of="8", batch=SMALLER, version="2", action=Action.HOLD)
    assert not held.done
