"""Answers that count for nothing: strangers, changes, expiry, kills; nothing moves."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.approving_world import SOON, TWO, acts, says
from tests.test_quarantine import Killed, killed_at
from tests.waiver_world import NOW, World, empty_database, world
from tidegate.flows import learned, replay_store
from tidegate.flows.approving.cases import AnswerError, open_case
from tidegate.flows.asked import remember
from tidegate.flows.deciding.version import EvidenceLost, Undecidable
from tidegate.flows.one_update import UpdateResult
from tidegate.flows.registry import Registry, RegistryError
from tidegate.flows.rollback import rollback
from tidegate.flows.signing import envelope
from tidegate.flows.tracking import Runs
from tidegate.gates.approval import PAYLOAD_TYPE, Answer
from tidegate.gates.digest import digest_bytes
from tidegate.gates.types import Action
from tidegate.gates.waiver import PAYLOAD_TYPE as WAIVER

__all__ = ["empty_database", "killed_at", "world"]

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("few_packages")]
STEPS = (
    (Registry, "_set_alias"),
    (Registry, "annotate"),
    (Runs, "log_file"),
    (Runs, "tag"),
    (replay_store, "remember"),
    (learned, "remember"),
)


@pytest.mark.parametrize(
    ("by", "word", "more", "says_why"),
    [
        ("eve", "approve", {}, "is no reviewer's of this policy"),
        ("carl", "approve", {}, "none of the roles"),
        ("carl", "refuse", {}, "none of the roles"),
        ("ada", "approve", {"lasts": 73 * 3600.0}, "lasts 73 h"),
        ("ada", "approve", {"lasts": -1.0}, "expires before it is issued"),
        ("ada", "approve", {"reason": ""}, "reason: "),
        ("bob", "approve", {}, "four eyes"),
        ("bob", "refuse", {}, "four eyes"),
    ],
)
def test_who_may_not_answer_changes_nothing(
    world: World, by: str, word: str, more: dict[str, Any], says_why: str
) -> None:
    world.update("u-1", gain=-0.2, requester="Bob")
    height = len(world.ledger.read())
    with pytest.raises(AnswerError, match=says_why):
        says(world, by, word, **more)
    assert len(world.ledger.read()) == height and world.aliases["champion"] == "1"
    assert not (world.home.root / "approvals").exists()


@pytest.mark.parametrize(
    ("changes", "error", "why"),
    [
        ({"honesty": -0.5}, AnswerError, "is reject"),
        ({}, AnswerError, "is promote: only what is held"),
        ({"kept": 0.0}, AnswerError, "is reject"),
    ],
)
def test_only_what_is_held_and_covered_is_approved(
    world: World, changes: dict[str, float], error: type[Exception], why: str
) -> None:
    world.update("u-1", **changes)
    height = len(world.ledger.read())
    with pytest.raises(error, match=why):
        says(world, "ada")
    assert len(world.ledger.read()) == height


def stale(world: World) -> None:
    world.update("u-2")


def rolled_back(world: World) -> None:
    """Somebody moved the alias to what is held, and it had to go."""
    world.registry.client.set_registered_model_alias("m", "champion", "2")
    rollback("m", world.home, to="1", reason="a test", tracking_uri=None)


def weights(world: World) -> None:
    (found,) = world.home.mlflow_artifacts.glob("**/adapter_model.safetensors")
    found.write_bytes(b"other weights")


def evidence(world: World) -> None:
    (world.home.updates / "u-1" / "evidence" / "evidence_model.json.gz").unlink()


def ledger(world: World) -> None:
    lines = world.home.ledger.read_bytes()
    world.home.ledger.write_bytes(lines.replace(b"a", b"b", 1))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (stale, "version 3 serves by now"),
        (rolled_back, "was rolled back"),
        (weights, "files were changed"),
        (evidence, "is gone"),
        (ledger, "ledger.jsonl:1"),
    ],
)
def test_approval_of_what_changed_since_is_refused(
    world: World, change: Callable[[World], None], why: str
) -> None:
    world.update("u-1", world.policy(TWO), gain=-0.2)
    says(world, "ada")
    change(world)
    champion = world.aliases["champion"]
    with pytest.raises(Exception, match=why) as no:
        says(world, "bob")
    assert isinstance(no.value, RegistryError | EvidenceLost) or "ledger" in str(no.value)
    assert world.aliases["champion"] == champion


def test_an_approval_that_expired_and_files_of_strangers_do_not_count(world: World) -> None:
    world.update("u-1", world.policy(TWO), gain=-0.2)
    says(world, "ada", lasts=1800.0, now=NOW)
    folder = open_case(world.home, "m", "2").folder
    (kept,) = folder.glob("*.json")
    case = open_case(world.home, "m", "2")
    forged = Answer(
        word="approve", name="ada", about=case.subject, reason="r",
        issued_at=NOW, expires_at=NOW + timedelta(hours=70),
    )  # fmt: skip
    for name, data in {
        "by_eve": envelope.seal(forged.payload, PAYLOAD_TYPE, world.signers["eve"]),
        "another_type": envelope.seal(forged.payload, WAIVER, world.signers["ada"]),
        "edited": kept.read_bytes().replace(b'"payload":"', b'"payload":"A', 1),
        "empty": b"",
        "by_two": envelope.seal(
            forged.payload, PAYLOAD_TYPE, world.signers["ada"], world.signers["bob"]
        ),
    }.items():
        (folder / f"{name}.json").write_bytes(data)
    states = open_case(world.home, "m", "2").answers(SOON)
    assert len(states) == 6 and all(state.reasons for state in states)
    done = says(world, "bob")
    assert (done.action, done.names) == (Action.HOLD, ("bob",))
    assert world.aliases["champion"] == "1"


def test_an_answer_about_another_version_is_worth_nothing_here(world: World) -> None:
    policy = world.policy(TWO)
    for name in ("u-1", "u-2"):
        world.update(name, policy, gain=-0.2)
    says(world, "ada", version="2")
    (kept,) = open_case(world.home, "m", "2").folder.glob("*.json")
    other = open_case(world.home, "m", "3")
    other.folder.mkdir(parents=True)
    (other.folder / kept.name).write_bytes(kept.read_bytes())
    (state,) = other.answers(SOON)
    assert any(reason.startswith("its version is '2'") for reason in state.reasons)
    assert says(world, "bob", version="3").names == ("bob",)


@pytest.mark.parametrize("word", ["approve", "refuse"])
def test_killed_between_any_two_steps_the_same_command_finishes(
    tmp_path: Path, empty_database: Path, killed_at: Callable[..., None], word: str
) -> None:
    survived, step = False, 0
    while not survived:
        step += 1
        world = World(tmp_path / str(step), empty_database)
        world.update("u-1", gain=-0.2)
        killed_at(step, *STEPS)
        try:
            says(world, "ada", word)
            survived = True
        except Killed:
            pass
        killed_at(0)
        assert world.aliases["champion"] == "1" or acts(world)[-1] == ("decide", "promote")
        done = says(world, "ada", word, now=SOON + timedelta(hours=1))
        came_to, champion = {
            "approve": ("promote", "2"), "refuse": ("reject", "1"),
        }[word]  # fmt: skip
        assert acts(world)[2:] == [(word, word), ("decide", came_to)]
        assert (done.action, world.aliases["champion"]) == (came_to, champion)
        assert world.registry.find("m", "2").tags["gov.verdict"] == came_to
        stored = (world.home.updates / "u-1" / "result.json").read_bytes()
        assert UpdateResult.model_validate_json(stored).statement == done.statement
        height = len(world.ledger.read())
        says(world, "ada", word)
        assert len(world.ledger.read()) == height
    assert step > 15


def test_what_was_never_trained_cannot_be_answered(world: World) -> None:
    world.update("u-1", kept=0.0)
    with pytest.raises(Undecidable, match="never trained"):
        _ = open_case(world.home, "m", "2").subject


def test_who_is_no_reviewer_any_more_answers_nothing(world: World) -> None:
    """Neither by a new answer, nor by one that was signed while the key was still named."""
    world.update("u-1", world.policy(TWO), gain=-0.2)
    path = world.folder / f"{digest_bytes(TWO.encode())[7:15]}.yaml"
    remember(world.home.updates / "u-1", str(path), None, None, None)
    assert says(world, "ada").action is Action.HOLD
    reviewers = world.folder / "reviewers.yaml"
    lines = reviewers.read_text().splitlines()
    reviewers.write_text("\n".join(line for line in lines if '"ada"' not in line) + "\n")
    with pytest.raises(AnswerError, match="none any more"):
        says(world, "ada")
    done = says(world, "bob")
    assert (done.action, done.names) == (Action.HOLD, ("bob",))
    reviewers.unlink()
    with pytest.raises(Undecidable, match="who may still answer"):
        says(world, "bob")
