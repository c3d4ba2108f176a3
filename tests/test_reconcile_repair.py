"""Aliases and tags put back to what the ledger says, and what a killed process left."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from tests.reconciling import (
    ALIASES,
    MOVED,
    TAMPERED,
    alias,
    change,
    found,
    history,
    stored,
    world,
)
from tests.waiver_world import LEARNED, NOW, World
from tidegate.flows.reconciling.compare import compare
from tidegate.flows.reconciling.finding import Kind, Unreconciled
from tidegate.flows.reconciling.repair import repair
from tidegate.flows.reconciling.serving import (
    ledger_says,
    require_aliases,
)
from tidegate.flows.rollback import rollback
from tidegate.flows.waiving.apply import apply_waivers
from tidegate.flows.waiving.waivers import new_waiver, write

__all__ = ["history", "world"]
pytestmark = pytest.mark.slow


class Killed(BaseException):
    """Stands for a kill -9: nobody catches it."""


@pytest.mark.parametrize(
    "case",
    [
        "to a held version", "previous moved", "anchor deleted", "champion deleted", "verdict",
        "statement deleted", "a digest too many", "parent",
    ],
)  # fmt: skip
def test_aliases_and_tags_are_put_back(world: World, case: str) -> None:
    before = {v.version: (v.tags, v.aliases) for v in world.registry.versions("m")}
    TAMPERED[case][0](world)
    done = repair(world.home, "m", NOW)
    assert done is not None
    assert {v.version: (v.tags, v.aliases) for v in world.registry.versions("m")} == before
    digest, record = world.ledger.read()[-1]
    about = record["predicate"]["about"]
    assert (done.statement, record["predicate"]["act"]) == (digest, "repair")
    assert (about["aliases"], about["tags"]) == (done.aliases, done.tags)
    assert found(world) == [] and repair(world.home, "m", NOW) is None


@pytest.mark.parametrize("file", ["adapter_model.safetensors", "candidate.json"])
def test_a_champion_whose_files_changed_is_not_put_back(world: World, file: str) -> None:
    alias("champion", "2")(world)
    change(stored(world, "3", file))
    height = len(world.ledger.read())
    with pytest.raises(Unreconciled, match="Roll back to one that is whole"):
        repair(world.home, "m", NOW)
    assert len(world.ledger.read()) == height and world.aliases["champion"] == "2"
    done = rollback("m", world.home, to="2", reason="changed files", tracking_uri=None)
    assert (done["was"], done["now"]) == ("3", "2")
    assert repair(world.home, "m", NOW) is None


def test_a_repair_killed_at_any_step_is_finished_by_the_same_command(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at every write to MLflow, to the ledger and to the plan, in turn."""
    steps = (
        "tidegate.flows.registry.Registry._set_alias",
        "tidegate.flows.registry.Registry.annotate",
        "tidegate.flows.durable.append",
        "tidegate.flows.durable.replace",
        "pathlib.Path.unlink",
    )
    once = []
    for case in ("to a held version", "previous moved", "verdict", "a digest too many"):
        TAMPERED[case][0](world)
        once.append(case)
    height, step, survived = len(world.ledger.read()), 0, False
    while not survived:
        step += 1
        assert step < 40
        with monkeypatch.context() as patch:
            _kill_at(patch, steps, step)
            try:
                repair(world.home, "m", NOW)
                survived = True
            except Killed:
                pass
        repair(world.home, "m", NOW)
        assert found(world) == [] and world.aliases == ALIASES
        acts = [r["predicate"]["act"] for _, r in world.ledger.read()[height:]]
        assert acts == ["repair"] * step, "the same act is written once"
        for case in once:
            TAMPERED[case][0](world)
    assert step > 6


def _kill_at(patch: pytest.MonkeyPatch, names: tuple[str, ...], step: int) -> None:
    left = [step]
    for name in names:
        owner, _, attribute = name.rpartition(".")
        real = _resolve(owner, attribute)

        def act(*given: object, _real: Callable[..., object] = real, **more: object) -> object:
            left[0] -= 1
            if left[0] == 0:
                raise Killed
            return _real(*given, **more)

        patch.setattr(name, act)


def _resolve(owner: str, attribute: str) -> Callable[..., object]:
    from pydoc import locate

    found: Callable[..., object] = getattr(locate(owner), attribute)
    return found


# What a killed command leaves behind


def test_a_promotion_that_was_killed_is_told_from_tampering(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    later, path = NOW + timedelta(hours=1), world.folder / "w.json"
    data = new_waiver(
        world.home, "m", "4", gate=LEARNED, reason="r", ticket="t", requester="dora",
        lasts=48 * 3600, now=NOW, signer=world.signers["ada"],
    )  # fmt: skip
    write(path, data)
    for at in ("present", "Registry.promote"):
        with monkeypatch.context() as patch:
            patch.setattr(f"tidegate.flows.deciding.again.{at}", _killed)
            with pytest.raises(Killed):
                apply_waivers(world.home, "m", "4", [path], now=later)
        assert {f.kind for f in compare(world.home, "m").findings} == {Kind.UNFINISHED}
        assert all("same command" in f.do for f in compare(world.home, "m").findings)
        assert repair(world.home, "m", NOW) is None, "a repair finishes no update"
        require_aliases(world.home, world.registry, ledger_says(world.home, "m"))
    apply_waivers(world.home, "m", "4", [path], now=later)
    assert found(world) == [] and world.aliases["champion"] == "4"
    # The same place, but the promotion came to its end: now somebody moved it.
    alias("champion", "3")(world)
    assert found(world) == [(MOVED, "3")]
    with pytest.raises(Unreconciled, match="moved by hand"):
        require_aliases(world.home, world.registry, ledger_says(world.home, "m"))


def _killed(*_: object, **__: object) -> None:
    raise Killed


@pytest.mark.parametrize("by", ["rollback", "repair"])
def test_a_rollback_that_was_killed_is_finished(
    world: World, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("tidegate.flows.rollback.Registry.rollback", _killed)
        with pytest.raises(Killed):
            rollback("m", world.home, to=None, reason="a test", tracking_uri=None)
    (finding,) = compare(world.home, "m").findings
    assert finding.kind is Kind.UNFINISHED and "--to 2" in finding.do
    with pytest.raises(Unreconciled, match="a rollback was killed"):
        require_aliases(world.home, world.registry, ledger_says(world.home, "m"))
    if by == "rollback":
        rollback("m", world.home, to=None, reason="a test", tracking_uri=None)
    else:
        assert repair(world.home, "m", NOW) is not None
    assert found(world) == [] and world.aliases["champion"] == "2"
