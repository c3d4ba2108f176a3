"""People answering for held versions, on a real registry, ledger and stored evidence."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from typer.testing import CliRunner

from tests.test_quarantine import Killed, killed_at
from tests.waiver_world import LEARNED, NOW, POLICY, REFUSAL, World
from tidegate.flows import learned, replay_store
from tidegate.flows.approving.answer import Answered, answer
from tidegate.flows.approving.cases import AnswerError, open_case
from tidegate.flows.approving.waiting import waiting
from tidegate.flows.cli import app
from tidegate.flows.deciding.version import EvidenceLost, Undecidable
from tidegate.flows.home import Home
from tidegate.flows.one_update import UpdateResult
from tidegate.flows.registry import Registry, RegistryError
from tidegate.flows.rollback import rollback
from tidegate.flows.signing import envelope
from tidegate.flows.tracking import Runs
from tidegate.flows.waiving.apply import apply_waivers
from tidegate.flows.waiving.waivers import WaiverError, kept_path, new_waiver, said, write
from tidegate.gates.approval import PAYLOAD_TYPE, Answer
from tidegate.gates.policy.load import load_policy
from tidegate.gates.policy.nouns import Policy
from tidegate.gates.policy.proof import ProofRecord
from tidegate.gates.types import Action
from tidegate.gates.waiver import PAYLOAD_TYPE as WAIVER

__all__ = ["killed_at"]

pytestmark = pytest.mark.slow
SOON = NOW + timedelta(hours=1)
TWO = "quorum: 2, valid_for: 72h"
WHY = "| the batch <b>repeats</b> known facts"
STEPS = (
    (Registry, "_set_alias"),
    (Registry, "annotate"),
    (Runs, "log_file"),
    (Runs, "tag"),
    (replay_store, "remember"),
    (learned, "remember"),
)


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow takes seconds to make its tables; every test starts from a copy of them."""
    home = Home(tmp_path_factory.mktemp("empty"))
    Registry.open(home)
    return home.mlflow_database


@pytest.fixture
def world(tmp_path: Path, empty_database: Path) -> World:
    return World(tmp_path / "world", empty_database)


def says(
    world: World, by: str, word: Any = "approve", version: str = "2", **more: Any
) -> Answered:
    given = {"reason": WHY, "lasts": None, "now": SOON, **more}
    return answer(world.home, "m", version, word, world.signers[by], **given)


def acts(world: World) -> list[tuple[str, str]]:
    return [
        (r["predicate"]["act"], str(r["predicate"]["about"]["action"]))
        for _, r in world.ledger.read()
    ]


def test_the_last_approval_promotes_and_the_record_says_who_and_why(world: World) -> None:
    held = world.update("u-1", world.policy(TWO), gain=-0.2)
    assert held.decision.action is Action.HOLD
    first = says(world, "ada")
    assert (first.action, first.missing, first.exit_code) == (Action.HOLD, 1, 2)
    assert world.aliases["champion"] == "1"
    done = says(world, "bob", reason="read it")
    assert (done.action, done.names, done.exit_code) == (Action.PROMOTE, ("ada", "bob"), 0)
    assert (world.aliases["champion"], world.aliases["previous"]) == ("2", "1")
    assert acts(world)[-3:] == [
        ("approve", "approve"), ("approve", "approve"), ("decide", "promote"),
    ]  # fmt: skip

    digest, record = world.ledger.read()[-1]
    about = record["predicate"]["about"]
    assert (done.statement, about["supersedes"]) == (digest, held.statement)
    ada, bob = about["approvals"]
    assert (ada["by"], ada["reason"], bob["reason"]) == ("ada", WHY, "read it")
    subjects = {s["name"]: f"sha256:{s['digest'].get('sha256')}" for s in record["subject"]}
    assert (subjects["approve/ada"], subjects["approve/bob"]) == (ada["digest"], bob["digest"])
    before = dict(world.ledger.read())[held.statement]["predicate"]["about"]["rulings"]
    for was, now in zip(before, about["rulings"], strict=True):
        approved = {"action": "promote", "approved": True} if was["gate"] == LEARNED else {}
        assert now == {**was, **approved}

    found = world.registry.find("m", "2")
    assert (found.tags["gov.verdict"], found.tags["gov.statement"]) == ("promote", digest)
    assert found.description.startswith("# PROMOTED, APPROVED BY PEOPLE")
    assert "ada" in found.description and "<b>" not in found.description
    assert done.report is not None
    page = done.report.read_text(encoding="utf-8")
    assert "&lt;b&gt;repeats" in page and "<b>" not in page and "read it" in page
    stored = (world.home.updates / "u-1" / "result.json").read_bytes()
    result = UpdateResult.model_validate_json(stored)
    assert (result.decision.action, result.statement) == (Action.PROMOTE, digest)
    assert list(world.home.replay.glob("**/*.parquet"))
    assert says(world, "ada") == done.model_copy(update={"by": "ada"})
    assert world.ledger.read()[-1][0] == digest


def test_nobody_is_counted_twice(world: World) -> None:
    world.update("u-1", world.policy(TWO), gain=-0.2)
    for reason, now in (("one", SOON), ("one", SOON + timedelta(hours=1)), ("two", SOON)):
        done = says(world, "ada", reason=reason, now=now)
        assert (done.action, done.names, done.missing) == (Action.HOLD, ("ada",), 1)
    assert [act for act, _ in acts(world)].count("approve") == 2  # of two different answers
    assert world.aliases["champion"] == "1"


def test_one_refusal_ends_it_and_no_waiver_changes_that(world: World) -> None:
    world.update("u-1", world.policy(TWO), gain=-0.2)
    says(world, "ada")
    done = says(world, "bob", "refuse", reason="the old price list")
    assert (done.action, done.names, done.exit_code) == (Action.REJECT, ("bob",), 1)
    assert acts(world)[-2:] == [("refuse", "refuse"), ("decide", "reject")]
    assert world.aliases["champion"] == "1"
    found = world.registry.find("m", "2")
    assert found.tags["gov.verdict"] == "reject"
    assert found.description.startswith("# REJECTED, REFUSED BY PEOPLE")
    assert "the old price list" in found.description
    height = len(world.ledger.read())
    again = says(world, "ada")  # an approval too late finds it refused
    assert (again.action, again.exit_code) == (Action.REJECT, 1)
    waived = waiver_for(world, LEARNED)
    with pytest.raises(WaiverError, match="refused by reviewers"):
        apply_waivers(world.home, "m", "2", [waived], now=SOON)
    assert len(world.ledger.read()) == height


def waiver_for(world: World, gate: str) -> Path:
    data = new_waiver(
        world.home,
        "m",
        "2",
        gate=gate,
        reason="r",
        ticket="t",
        requester="dora",
        lasts=3600.0 * 48,
        now=NOW,
        signer=world.signers["ada"],
    )
    path = kept_path(world.home, said(data).digest)
    write(path, data)
    return path


def test_a_waiver_makes_it_held_and_an_approval_promotes_it(world: World) -> None:
    world.update("u-1", refusal=-0.5)
    with pytest.raises(AnswerError, match=r"is reject: only what is held .* waiver"):
        says(world, "bob")
    apply_waivers(world.home, "m", "2", [waiver_for(world, REFUSAL)], now=SOON)
    done = says(world, "bob")
    assert done.action is Action.PROMOTE and world.aliases["champion"] == "2"
    about = world.ledger.read()[-1][1]["predicate"]["about"]
    assert about["waivers"] and about["approvals"]
    assert "APPROVED BY PEOPLE, WITH WAIVERS" in world.registry.find("m", "2").description
    assert says(world, "bob").statement == done.statement


def test_what_waits_because_people_approve_everything(world: World) -> None:
    world.update("u-1", world.policy("when: always, valid_for: 72h"), gain=-0.2)
    held = apply_waivers(world.home, "m", "2", [waiver_for(world, LEARNED)], now=SOON)
    assert [r.title for r in held.decision.rulings if r.action is Action.HOLD] == ["approval"]
    assert says(world, "ada").action is Action.PROMOTE
    ruled = world.ledger.read()[-1][1]["predicate"]["about"]["rulings"][-1]
    assert (ruled["gate"], ruled["outcome"], ruled["approved"]) == (
        "approval", "inconclusive", True,
    )  # fmt: skip


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


def test_a_policy_without_reviewers_says_which_two_commands(world: World) -> None:
    path = world.folder / "alone.yaml"
    path.write_text(POLICY.replace("APPROVAL, reviewers: reviewers.yaml", "quorum: 1"))
    world.update("u-1", load_policy(path), gain=-0.2)
    with pytest.raises(AnswerError) as no:
        says(world, "ada")
    assert "tidegate reviewer add --name" in str(no.value)
    assert "tidegate update DROPS --model m --policy" in str(no.value)
    (one,) = waiting(world.home, "m", SOON)
    assert one.reasons == ("its policy names no reviewers",)


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


def test_the_policy_and_its_proof_are_compared_where_asked(world: World) -> None:
    policy = world.policy()
    world.update("u-1", policy, gain=-0.2)
    other: tuple[Policy, ProofRecord | None] = (world.policy(TWO), None)
    with pytest.raises(AnswerError, match="run the update again under it"):
        says(world, "ada", rules=other)
    assert says(world, "ada", rules=(policy, None)).action is Action.PROMOTE


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


def test_a_version_that_was_rolled_back_is_not_approved_back(world: World) -> None:
    world.update("u-1", gain=-0.2)
    says(world, "ada")
    rollback("m", world.home, to=None, reason="a test", tracking_uri=None)
    with pytest.raises(RegistryError, match="needs a new decision"):
        says(world, "ada")
    with pytest.raises(AnswerError, match="tidegate rollback"):
        says(world, "ada", "refuse")
    assert world.aliases["champion"] == "1"


def test_a_tag_asks_and_nothing_moves(world: World) -> None:
    world.update("u-1", world.policy(TWO), gain=-0.2)
    world.update("u-2", world.policy(TWO), refusal=-0.5)
    before, height = world.aliases, len(world.ledger.read())
    client = MlflowClient(tracking_uri=f"sqlite:///{world.home.mlflow_database}")
    client.set_model_version_tag("m", "2", "gov.request", "approve")
    client.set_model_version_tag("m", "3", "gov.request", "<script>")
    one, two = waiting(world.home, "m", SOON)
    assert (one.version, one.asks, one.missing, one.reasons) == ("2", "approve", 2, ())
    assert (one.since, one.requester) == (NOW, "rita")
    assert (two.version, two.asks, two.action) == ("3", "another word", "reject")
    assert "is not held" in two.reasons[0]
    assert world.aliases == before and len(world.ledger.read()) == height
    says(world, "ada")
    (waits, _) = waiting(world.home, None, SOON)
    assert (waits.approved_by, waits.missing) == (("ada",), 1)
    world.update("u-3")
    (late, _) = waiting(world.home, "m", SOON)
    assert "the evidence is stale" in late.reasons[0]
    assert waiting(world.home, "other", SOON) == ()
    evidence(world)
    assert any("is gone" in r for w in waiting(world.home, "m", SOON) for r in w.reasons)


def test_the_commands_end_to_end(world: World) -> None:
    world.update("u-1", world.policy(TWO), gain=-0.2)
    where = ["--model", "m", "--home", str(world.home.root), "--json"]

    def run(*words: str, ends: int) -> Any:
        done = CliRunner().invoke(app, [*words, *where])
        assert done.exit_code == ends, done.output
        return json.loads(done.stdout)

    def key(name: str) -> list[str]:
        return ["--key", str(world.folder / f"{name}.pem"), "--reason", "r"]

    assert [one["version"] for one in run("approvals", ends=0)] == ["2"]
    held = run("approve", "candidate", *key("ada"), ends=2)
    assert (held["missing"], held["statement"]) == (1, None)
    assert run("approve", "2", *key("bob"), "--expires", "2h", ends=0)["action"] == "promote"
    assert run("approvals", ends=0) == []
    world.update("u-2", world.policy(TWO), gain=-0.2)
    assert run("refuse", "3", *key("ada"), ends=1)["action"] == "reject"
    shown = CliRunner().invoke(app, ["approvals", *where[:-1]]).output
    assert "nothing waits" in shown
    assert world.aliases["champion"] == "2"


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
