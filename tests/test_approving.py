"""People answering for held versions, on a real registry, ledger and stored evidence."""

import json
from datetime import timedelta
from typing import Any

import pytest
from mlflow import MlflowClient
from typer.testing import CliRunner

from tests.approving_world import SOON, TWO, WHY, acts, says, waiver_for
from tests.waiver_world import LEARNED, NOW, POLICY, REFUSAL, World, empty_database, world
from tidegate.flows.approving.cases import AnswerError
from tidegate.flows.approving.waiting import waiting
from tidegate.flows.cli import app
from tidegate.flows.one_update import UpdateResult
from tidegate.flows.registry import RegistryError
from tidegate.flows.rollback import rollback
from tidegate.flows.waiving.apply import apply_waivers
from tidegate.flows.waiving.waivers import WaiverError, sign
from tidegate.gates.policy.load import load_policy
from tidegate.gates.policy.nouns import Policy
from tidegate.gates.policy.proof import ProofRecord
from tidegate.gates.types import Action

__all__ = ["empty_database", "world"]

pytestmark = pytest.mark.slow


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
    sign(waived, world.signers["bob"])
    with pytest.raises(WaiverError, match="refused by reviewers"):
        apply_waivers(world.home, "m", "2", [waived], now=SOON)
    assert len(world.ledger.read()) == height


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


def test_the_policy_and_its_proof_are_compared_where_asked(world: World) -> None:
    policy = world.policy()
    world.update("u-1", policy, gain=-0.2)
    other: tuple[Policy, ProofRecord | None] = (world.policy(TWO), None)
    with pytest.raises(AnswerError, match="run the update again under it"):
        says(world, "ada", rules=other)
    assert says(world, "ada", rules=(policy, None)).action is Action.PROMOTE


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
    (world.home.updates / "u-1" / "evidence" / "evidence_model.json.gz").unlink()
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
