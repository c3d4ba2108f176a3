"""Promoting what was approved already: nobody signs, and everything is checked again."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from tests.approving_world import SOON, TWO, acts
from tests.test_quarantine import Killed, killed_at
from tests.waiver_world import NOW, World, empty_database, world
from tidegate.flows.approving.cases import AnswerError, open_case
from tidegate.flows.approving.promote import Looked, promote_approved
from tidegate.flows.approving.settle import path_of
from tidegate.flows.deployments.promote import promote
from tidegate.flows.locks import one_at_a_time
from tidegate.flows.registry import Registry, RegistryError
from tidegate.flows.signing import envelope
from tidegate.flows.signing.keys import public_of
from tidegate.flows.usage import UsageError
from tidegate.gates.approval import PAYLOAD_TYPE, Answer
from tidegate.gates.types import Action

__all__ = ["empty_database", "killed_at", "world"]

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("few_packages")]
STEPS = ((Registry, "_set_alias"), (Registry, "annotate"))


def brought(world: World, by: str, version: str = "2", word: str = "approve") -> None:
    """An answer that was signed elsewhere: its file is put into the home, and that is all."""
    case, signer = open_case(world.home, "m", version), world.signers[by]
    said = {"word": word, "name": by, "about": case.subject, "reason": "read it"}
    day = {"issued_at": NOW, "expires_at": NOW + timedelta(hours=24)}
    given = Answer.model_validate({**said, **day})
    case.folder.mkdir(parents=True, exist_ok=True)
    path = path_of(case, given.digest, public_of(signer).keyid)
    path.write_bytes(envelope.seal(given.payload, PAYLOAD_TYPE, signer))


def look(world: World, version: str | None = None) -> tuple[Looked, ...]:
    return promote_approved(world.home, "m", version, SOON)


def test_enough_approvals_promote_and_fewer_wait(world: World) -> None:
    world.update("u-1", world.policy(TWO), gain=-0.2)
    assert look(world) == (Looked(version="2", action=Action.HOLD, missing=2),)
    for stranger in ("carl", "eve"):  # another role; nobody's reviewer
        brought(world, stranger)
    brought(world, "ada")
    (waits,) = look(world)
    assert (waits.action, waits.approved_by, waits.missing) == (Action.HOLD, ("ada",), 1)
    assert world.aliases["champion"] == "1"
    brought(world, "bob")
    (done,) = look(world)
    assert (done.action, done.approved_by) == (Action.PROMOTE, ("ada", "bob"))
    assert (world.aliases["champion"], world.aliases["previous"]) == ("2", "1")
    assert acts(world)[-3:] == [
        ("approve", "approve"), ("approve", "approve"), ("decide", "promote"),
    ]  # fmt: skip
    height = len(world.ledger.read())
    assert look(world) == () and look(world, "2") == (done,)
    assert len(world.ledger.read()) == height


def test_one_refusal_rejects(world: World) -> None:
    world.update("u-1", world.policy(TWO), gain=-0.2)
    for by, word in (("ada", "approve"), ("bob", "refuse")):
        brought(world, by, word=word)
    (done,) = look(world)
    assert (done.action, done.why) == (Action.REJECT, "refused by bob")
    assert world.aliases["champion"] == "1" and acts(world)[-1] == ("decide", "reject")


def test_expired_approvals_promote_nothing(world: World) -> None:
    world.update("u-1", gain=-0.2)
    brought(world, "ada")
    late = promote_approved(world.home, "m", None, NOW + timedelta(days=2))
    assert [(one.action, one.missing) for one in late] == [(Action.HOLD, 1)]
    assert world.aliases["champion"] == "1"


def test_what_cannot_be_decided_is_told_and_raised_where_it_was_named(world: World) -> None:
    for name in ("u-1", "u-2"):
        world.update(name, gain=-0.2)
    for version in ("2", "3"):
        brought(world, "ada", version)
    first, stale = look(world)
    assert (first.version, first.action) == ("2", Action.PROMOTE)
    assert (stale.version, stale.action) == ("3", None) and "stale" in stale.why
    with pytest.raises(RegistryError, match="stale"):
        look(world, "3")
    with pytest.raises(UsageError, match="no decision about version"):
        look(world, "9")
    world.update("u-3", refusal=-0.5)
    with pytest.raises(AnswerError, match="is reject"):
        look(world, "4")
    world.update("u-4", gain=-0.2)
    brought(world, "ada", "5")
    other = (world.policy(TWO), None)
    with pytest.raises(AnswerError, match="run the update again under it"):
        promote_approved(world.home, "m", "5", SOON, rules=other)
    with one_at_a_time(world.home, "m"):
        assert all("is running" in one.why for one in look(world) if one.version == "5")
    assert world.aliases["champion"] == "2"


def test_files_that_changed_since_are_not_promoted(world: World) -> None:
    world.update("u-1", gain=-0.2)
    brought(world, "ada")
    run = world.registry.load("m", "2").run_id
    (weights,) = world.home.mlflow_artifacts.glob(f"{run}/**/adapter_model.safetensors")
    weights.write_bytes(b"other")
    (changed,) = look(world)
    assert changed.action is None and "changed" in changed.why
    assert world.aliases["champion"] == "1"


def test_killed_between_any_two_steps_the_next_run_finishes_it(
    world: World, killed_at: Callable[..., None]
) -> None:
    survived, done = False, 0
    while not survived:
        step, done = (
            1 + 3 * done,
            done + 1,
        )  # each third; the approver's own command has them all
        held = world.update(f"u-{step}", gain=-0.2)
        before = world.aliases["champion"]
        brought(world, "ada", held.version)
        killed_at(step, *STEPS)
        try:
            look(world)
            survived = True
        except Killed:
            pass
        killed_at(0)
        look(world)
        aliases = world.aliases
        assert (aliases["champion"], aliases["previous"]) == (held.version, before)
        assert acts(world).count(("decide", "promote")) == done
        assert acts(world).count(("approve", "approve")) == done
        assert len(world.ledger.headed()[1]) == len(world.ledger.read())
    assert done > 4


def test_the_deployment_says_what_it_did(world: World) -> None:
    # No approval of this world counts at the clock's time: the flow has to leave it waiting.
    world.update("u-1", gain=-0.2)
    brought(world, "ada")
    given = {"model": "m", "home": str(world.home.root)}
    waits = promote(**given, return_state=True)
    assert (waits.name, waits.message) == ("NothingPromoted", "1 wait for more approvals")
    assert world.aliases["champion"] == "1"
    look(world)
    done = promote(**given, version="2", return_state=True)
    assert (done.name, done.message) == ("Promoted", "version 2 serves now")
