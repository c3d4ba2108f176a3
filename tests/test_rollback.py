"""Rolling back by what the ledger says, on a real registry; killed anywhere, it finishes."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.test_quarantine import Killed, killed_at
from tests.waiver_world import BASE, NOW, World, empty_database
from tidegate.flows.registry import Registry, RegistryError
from tidegate.flows.rollback import reported, rollback
from tidegate.flows.standing import moves, promoting
from tidegate.flows.usage import UsageError
from tidegate.gates.audit import statement
from tidegate.gates.types import Action

__all__ = ["empty_database", "killed_at"]

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("few_packages")]
STEPS = ((Registry, "_set_alias"), (Registry, "annotate"))


@pytest.fixture
def world(tmp_path: Path, empty_database: Path) -> World:
    """Versions 2 and 3 were promoted, 4 is held."""
    return made(tmp_path / "world", empty_database)


def made(folder: Path, empty_database: Path) -> World:
    world = World(folder, empty_database)
    for name in ("u-1", "u-2"):
        world.update(name)
    world.update("u-3", gain=-0.2)
    assert world.aliases["champion"] == "3"
    return world


def roll(world: World, to: str | None = None, reason: str = "a test") -> dict[str, str]:
    """As the command: whoever asked hears of the end."""
    done = rollback("m", world.home, to=to, reason=reason, tracking_uri=None, by="olga")
    reported(world.home, "m", reason=reason, by="olga")
    return done


def rollbacks(world: World) -> list[dict[str, Any]]:
    said = [r["predicate"] for _, r in world.ledger.read()]
    return [p["about"] for p in said if p["act"] == "rollback"]


def test_it_goes_back_step_by_step_and_says_who_and_why(world: World) -> None:
    began = time.perf_counter()
    done = roll(world, reason="wrong refund policy")
    print(f"a rollback took {time.perf_counter() - began:.3f} s")
    assert (done["was"], done["now"], world.aliases["champion"]) == ("3", "2", "2")
    (said,) = rollbacks(world)
    assert (said["by"], said["reason"]) == ("olga", "wrong refund policy")
    assert world.ledger.read()[-1][0] == done["statement"]
    assert roll(world)["now"] == "1" and "previous" not in world.aliases
    with pytest.raises(RegistryError, match="no version before"):
        roll(world)
    assert len(rollbacks(world)) == 2


def test_asked_by_version_it_is_done_once(world: World) -> None:
    first = roll(world, "1")
    assert roll(world, "1") == roll(world, "anchor") == first
    assert len(rollbacks(world)) == 1
    with pytest.raises(UsageError, match="needs a reason"):
        roll(world, "2", reason="  ")


def tags(world: World) -> None:
    world.registry.annotate("m", "4", {"gov.verdict": "promote"})


def erased(world: World) -> None:
    about = {"decision_id": "e", "action": "erase", "versions": ["2"]}
    world.ledger.append(
        statement(act="erase", model="m", subjects={"base": BASE}, about=about, decided_at=NOW)
    )


def other_weights(world: World) -> None:
    """Files and tags together, as whoever has both passwords can."""
    mine, other = (world.registry.load("m", version) for version in "23")
    for name in ("candidate.json", "adapter_model.safetensors"):
        (found,) = world.home.mlflow_artifacts.glob(f"{mine.run_id}/**/{name}")
        (taken,) = world.home.mlflow_artifacts.glob(f"{other.run_id}/**/{name}")
        found.write_bytes(taken.read_bytes())
    same = {k: v for k, v in other.tags.items() if k.startswith("gov.") and "digest" in k}
    world.registry.annotate("m", "2", {**same, "gov.parent": "2"})


@pytest.mark.parametrize(
    ("change", "to", "why"),
    [
        (tags, "4", "never served"),
        (lambda w: None, "4", "never served"),
        (lambda w: None, "9", "could not read version 9"),
        (lambda w: None, "3", "serves already"),
        (erased, "2", "were erased"),
        (other_weights, "2", "its signed decision is about"),
    ],
    ids=["tag", "held", "unknown", "champion", "erased", "weights"],
)
def test_what_may_not_serve_again(
    world: World, change: Callable[[World], None], to: str, why: str
) -> None:
    change(world)
    height = len(world.ledger.read())
    with pytest.raises(RegistryError, match=why):
        roll(world, to)
    assert len(world.ledger.read()) == height and world.aliases["champion"] == "3"


def test_a_tag_cannot_keep_a_good_version_from_serving_again(world: World) -> None:
    world.registry.annotate("m", "2", {"gov.verdict": "reject"})
    world.registry.client.set_registered_model_alias("m", "previous", "4")
    assert roll(world)["now"] == "2"


def test_a_version_that_had_to_go_comes_back_by_no_way(world: World) -> None:
    roll(world)
    with pytest.raises(RegistryError, match="needs a new decision"):
        roll(world, "3")
    written = world.registry.find("m", "3").tags["gov.statement"]
    with pytest.raises(RegistryError, match="needs a new decision"):
        world.registry.promote("m", "3", was="2", statement=written)
    # An update that was killed after it promoted, and is run again after the rollback.
    for folder in ("adapters", "home/updates"):
        shutil.rmtree(world.folder / folder / "u-2")
    with pytest.raises(RegistryError, match="needs a new decision"):
        world.update("u-2")
    assert world.aliases["champion"] == "2"


def test_killed_between_any_two_steps_the_same_command_finishes_and_goes_no_further(
    world: World, killed_at: Callable[..., None]
) -> None:
    survived, step = False, 0
    while not survived:
        step += 1
        was = world.aliases["champion"]
        killed_at(step, *STEPS)
        try:
            roll(world)
            survived = True
        except Killed:
            pass
        killed_at(0)
        if not survived:
            assert roll(world)["now"] == "2"
        assert (
            [r["was"] for r in rollbacks(world)].count(was) == 1 == len(rollbacks(world)) / step
        )
        assert (world.aliases["champion"], world.aliases["previous"]) == ("2", "1")
        assert roll(world, "2")["was"] == was and len(rollbacks(world)) == step
        assert not list(world.home.updates.glob("*.rollback.json"))
        assert len(world.ledger.headed()[1]) == len(world.ledger.read())
        world.update(f"again-{step}")  # another champion on version 2
    assert step > 8


def test_what_was_not_reported_is_the_same_rollback_only_for_the_same_words(
    world: World,
) -> None:
    def unheard(reason: str, by: str = "olga") -> str:
        done = rollback("m", world.home, to=None, reason=reason, tracking_uri=None, by=by)
        return done["now"]

    assert [unheard("slow"), unheard("slow"), unheard("slow")] == ["2", "2", "2"]
    assert len(rollbacks(world)) == 1
    assert unheard("slow", by="ines") == "1"
    assert [r["by"] for r in rollbacks(world)] == ["olga", "ines"]


def test_an_alias_that_the_rollback_moved_is_not_followed_a_second_time(world: World) -> None:
    for _ in range(2):  # as if the first was killed before it could say so
        rollback("m", world.home, to="previous", reason="r", tracking_uri=None, by="olga")
        assert world.aliases["champion"] == "2"
    assert len(rollbacks(world)) == 1


def test_a_request_of_long_ago_is_not_mistaken_for_one_about_a_later_champion(
    world: World,
) -> None:
    rollback("m", world.home, to=None, reason="slow", tracking_uri=None, by="olga")
    world.update("u-5")  # promoted; nobody struck the request out
    assert world.aliases["champion"] == "5"
    assert roll(world, reason="slow")["now"] == "2" and len(rollbacks(world)) == 2


def test_a_request_that_cannot_be_read_is_said(world: World) -> None:
    roll(world)
    (world.home.updates / "m.rollback.json").write_text("{")
    with pytest.raises(UsageError, match="is damaged"):
        roll(world)
    assert len(rollbacks(world)) == 1


def test_another_version_than_the_one_that_was_begun(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Registry, "_set_alias", killed)
        with pytest.raises(Killed):
            roll(world, "2")
    assert world.aliases["champion"] == "3"
    assert roll(world, "1")["was"] == "2"
    assert [(r["was"], r["version"]) for r in rollbacks(world)] == [("3", "2"), ("2", "1")]
    assert world.aliases["champion"] == "1"


def test_the_alias_that_somebody_moved_since_goes_back_to_the_ledgers(world: World) -> None:
    done = roll(world)
    world.registry.client.set_registered_model_alias("m", "champion", "4")
    assert roll(world) == done
    assert world.aliases["champion"] == "2" and len(rollbacks(world)) == 1


def test_an_update_that_a_rollback_overtook_is_held(world: World) -> None:
    """It was compared with the version that had to go; the ledger gets no promotion of it."""
    compared_with = world.line()
    roll(world)
    world.line = lambda: compared_with  # type: ignore[method-assign]  as it was when it began
    held = world.update("u-4")
    assert held.decision.action is Action.HOLD
    assert (
        "version 2 serves by now, and not version 3" in held.decision.rulings[-1].verdict.reason
    )
    assert world.aliases["champion"] == "2"
    with pytest.raises(RegistryError, match="never served"):
        roll(world, to="5")


def test_a_promotion_that_never_took_effect_is_none(world: World) -> None:
    """As an update wrote it whose champion was rolled back in the last milliseconds."""
    roll(world)
    first = next(r for _, r in world.ledger.read() if r["predicate"]["act"] == "decide")
    about = {
        **first["predicate"]["about"],
        "decision_id": "late",
        "version": "5",
        "parent": "3",
    }
    late = statement(
        act="decide", model="m", subjects={"base": BASE}, about=about, decided_at=NOW
    )
    before = list(moves(world.ledger.read(), "m"))
    world.ledger.append(late)
    assert promoting(world.ledger.read(), "m", "5") is None
    assert list(moves(world.ledger.read(), "m")) == before
