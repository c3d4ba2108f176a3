"""Deciding again with waivers, on a real registry, ledger and stored evidence. Nothing is trained."""

import gzip
import json
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from filelock import FileLock
from typer.testing import CliRunner

from tests.waiver_world import (
    BASE,
    HONESTY,
    LEARNED,
    NOW,
    REFUSAL,
    SCHEMA,
    World,
    empty_database,
    world,
)
from tidegate.flows.commands.waiver import waiver as commands
from tidegate.flows.deciding.version import EvidenceLost, Undecidable, decided
from tidegate.flows.one_update import UpdateResult
from tidegate.flows.registry import RegistryError
from tidegate.flows.rollback import rollback
from tidegate.flows.signing.envelope import seal
from tidegate.flows.usage import UsageError
from tidegate.flows.waiving.apply import Applied, apply_waivers
from tidegate.flows.waiving.waivers import (
    WaiverError,
    check_waiver,
    kept_path,
    list_waivers,
    new_waiver,
    said,
    write,
    write_new,
)
from tidegate.gates.digest import digest_bytes
from tidegate.gates.types import Action
from tidegate.gates.waiver import PAYLOAD_TYPE, Waiver

__all__ = ["empty_database", "world"]

pytestmark = pytest.mark.slow
SOON = NOW + timedelta(hours=1)
Made = Callable[..., Path]


@pytest.fixture
def made(world: World) -> Made:
    """Write a waiver that ada signed, below the home; returns its path."""

    def make(version: str, gate: str, *, signer: str = "ada", lasts: float = 48 * 3600) -> Path:
        data = new_waiver(
            world.home,
            "m",
            version,
            gate=gate,
            reason="| the suite asks about <b>a withdrawn product</b>",
            ticket="OPS-1",
            requester="dora",
            lasts=lasts,
            now=NOW,
            signer=world.signers[signer],
        )
        path = kept_path(world.home, said(data).digest)
        write_new(path, data)
        return path

    return make


def apply(world: World, version: str, *files: Path, now: datetime = SOON) -> Applied:
    return apply_waivers(world.home, "m", version, files, now=now)


def test_a_held_update_with_a_waiver_serves_and_the_record_says_why(
    world: World, made: Made
) -> None:
    held = world.update("u-1", gain=-0.2)
    assert (held.decision.action, world.aliases["champion"]) == (Action.HOLD, "1")
    path = made("2", LEARNED)
    done = apply(world, "2", path)
    assert (done.before, done.decision.action, done.exit_code) == ("hold", "promote", 0)
    assert world.aliases["champion"] == "2" and world.aliases["previous"] == "1"

    digest, record = world.ledger.read()[-1]
    about = record["predicate"]["about"]
    assert (done.statement, about["supersedes"]) == (digest, held.statement)
    assert about["action"] == "promote"
    (counted,) = about["waivers"]
    assert counted == {
        "digest": done.waivers[0],
        "gate": LEARNED,
        "reason": "| the suite asks about <b>a withdrawn product</b>",
        "ticket": "OPS-1",
        "requester": "dora",
        "signers": ["ada"],
        "expires": "2026-11-11T12:00:00Z",
    }
    first = dict(world.ledger.read())[held.statement]["predicate"]["about"]
    for before, after in zip(first["rulings"], about["rulings"], strict=True):
        if before["gate"] == LEARNED:
            assert after == {**before, "action": "promote", "waived": done.waivers[0]}
        else:
            assert after == before
    subjects = {s["name"]: s["digest"]["sha256"] for s in record["subject"]}
    assert f"sha256:{subjects[f'waiver/{LEARNED}']}" == done.waivers[0]
    assert {"adapter", "base", "policy", "evidence/model", "evidence/data"} <= set(subjects)

    found = world.registry.find("m", "2")
    assert found.tags["gov.verdict"] == "promote"
    assert found.tags["gov.statement"] == done.statement
    assert found.tags["gov.waivers"] == done.waivers[0]
    assert found.description.startswith("# PROMOTED, WITH WAIVERS")
    assert "OPS\\-1" in found.description and "<b>" not in found.description
    page = done.report.read_text(encoding="utf-8")
    assert "&lt;b&gt;a withdrawn" in page and "<b>" not in page
    assert digest_bytes(path.read_bytes()) == digest_bytes(
        kept_path(world.home, done.waivers[0]).read_bytes()
    )
    stored = UpdateResult.model_validate_json(
        (world.home.updates / "u-1" / "result.json").read_bytes()
    )
    assert (stored.decision.action, stored.statement) == (Action.PROMOTE, done.statement)
    assert stored.document["action"] == "promote"
    assert list(world.home.replay.glob("**/*.parquet"))
    assert len(list(world.home.root.glob("learned/*.parquet"))) == 1


def test_applied_again_it_is_the_same_statement_and_nothing_twice(
    world: World, made: Made
) -> None:
    world.update("u-1", gain=-0.2)
    path = made("2", LEARNED)
    first, height = apply(world, "candidate", path), len(world.ledger.read())
    assert apply(world, "2", path, now=SOON + timedelta(hours=1)) == first
    assert len(world.ledger.read()) == height
    assert len(world.registry.versions("m")) == 2


def test_a_rejected_update_is_held_at_best(world: World, made: Made) -> None:
    world.update("u-1", refusal=-0.5)
    done = apply(world, "2", made("2", REFUSAL))
    assert (done.before, done.decision.action, done.exit_code) == ("reject", "hold", 2)
    assert world.aliases["champion"] == "1"
    assert world.registry.find("m", "2").tags["gov.verdict"] == "hold"
    with pytest.raises(WaiverError, match="file already"):
        made("2", REFUSAL)  # the very same words, the very same digest


def test_two_rulings_need_two_waivers(world: World, made: Made) -> None:
    world.update("u-1", refusal=-0.5, gain=-0.2)
    refusal, learned = made("2", REFUSAL), made("2", LEARNED)
    assert apply(world, "2", learned).decision.action is Action.REJECT
    done = apply(world, "2", learned, refusal)
    assert done.decision.action is Action.HOLD
    about = world.ledger.read()[-1][1]["predicate"]["about"]
    assert len(about["waivers"]) == 2
    assert about["supersedes"] == world.ledger.read()[-2][0]
    with pytest.raises(WaiverError, match="decided with these very waivers and then again"):
        apply(world, "2", learned)


def test_one_bad_waiver_stops_all_of_them(world: World, made: Made) -> None:
    world.update("u-1", refusal=-0.5, gain=-0.2)
    short, height = made("2", LEARNED, lasts=1800), len(world.ledger.read())
    with pytest.raises(WaiverError, match="it expired at 2026-11-09 12:30 UTC"):
        apply(world, "2", made("2", REFUSAL), short)
    with pytest.raises(WaiverError, match="no waiver was given"):
        apply(world, "2")
    with pytest.raises(WaiverError, match="is no reviewer's of this policy"):
        apply(world, "2", made("2", LEARNED, signer="eve"))
    assert len(world.ledger.read()) == height


def test_a_waiver_of_the_parent_does_nothing_for_the_child(world: World, made: Made) -> None:
    world.update("u-1", gain=-0.2)
    path = made("2", LEARNED)
    apply(world, "2", path)
    world.update("u-2", gain=-0.2)
    assert world.registry.find("m", "3").tags["gov.parent"] == "2"
    with pytest.raises(WaiverError, match="another candidate .* never inherited"):
        apply(world, "3", path)
    assert world.aliases["champion"] == "2"


def test_evidence_of_another_champion_is_stale(world: World, made: Made) -> None:
    world.update("u-1", gain=-0.2)
    path = made("2", LEARNED)
    world.update("u-2")
    assert world.aliases["champion"] == "3"
    height = len(world.ledger.read())
    with pytest.raises(RegistryError, match="version 3 serves by now: the evidence is stale"):
        apply(world, "2", path)
    assert len(world.ledger.read()) == height


def test_a_version_that_was_rolled_back_is_not_waived_back(world: World, made: Made) -> None:
    world.update("u-1", gain=-0.2)
    path = made("2", LEARNED)
    apply(world, "2", path)
    rollback("m", world.home, to=None, reason="a test", tracking_uri=None)
    with pytest.raises(RegistryError, match="was rolled back"):
        apply(world, "2", path)
    assert world.aliases["champion"] == "1"


@pytest.mark.parametrize(
    ("changes", "gate", "says"),
    [
        ({"honesty": -0.5}, HONESTY, "locked by the policy"),
        ({"gain": -0.2}, "learned", "too broad"),
        ({"gain": -0.2}, REFUSAL, "nothing to waive"),
        ({"gain": 0.5}, LEARNED, "nothing to waive"),
    ],
)
def test_a_waiver_that_could_never_count_is_not_made(
    world: World, made: Made, changes: dict[str, float], gate: str, says: str
) -> None:
    world.update("u-1", **changes)
    with pytest.raises(WaiverError, match=says):
        made("2", gate)
    with pytest.raises(Undecidable, match="no decision about version '9'"):
        made("9", gate)


def test_what_was_never_trained_cannot_be_waived_into_service(world: World, made: Made) -> None:
    stopped = world.update("u-1", kept=0.0)
    assert stopped.decision.action is Action.REJECT
    with pytest.raises(Undecidable, match="never trained or measured"):
        made("2", SCHEMA)
    base_as_candidate = Waiver(
        model="m",
        version="2",
        gate=SCHEMA,
        candidate=BASE,
        policy=world.policy().digest,
        reason="r",
        ticket="t",
        requester="dora",
        issued_at=NOW,
        expires_at=SOON,
    )
    path = world.folder / "forged.json"
    write(path, seal(base_as_candidate.payload, PAYLOAD_TYPE, world.signers["ada"]))
    with pytest.raises(WaiverError, match="never trained or measured"):
        apply(world, "2", path, now=NOW)


def _rewrite(path: Path, change: Callable[[str], str]) -> None:
    text = gzip.decompress(path.read_bytes()).decode()
    assert change(text) != text
    path.write_bytes(gzip.compress(change(text).encode()))


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("policy", '"locked": true', '"locked": false'),
        ("policy", '"quorum": 1', '"quorum": 2'),
        ("policy", '"ada"', '"eve"'),
        ("evidence_model", '"value":', '"value": 1'),
        ("evidence_data", '"n": 5', '"n": 6'),
    ],
)
def test_evidence_that_was_changed_decides_nothing(
    world: World, made: Made, name: str, old: str, new: str
) -> None:
    world.update("u-1", gain=-0.2)
    path = made("2", LEARNED)
    stored = world.home.updates / "u-1" / "evidence" / f"{name}.json.gz"
    _rewrite(stored, lambda text: text.replace(old, new, 1))
    with pytest.raises(EvidenceLost, match="restore it"):
        apply(world, "2", path)
    assert "restore it" in check_waiver(path.read_bytes(), path, world.home, SOON).reasons[0]
    shutil.rmtree(stored.parent)
    with pytest.raises(EvidenceLost, match="is gone"):
        decided(world.home, "m", "2")


def test_weights_that_were_changed_are_not_promoted(world: World, made: Made) -> None:
    world.update("u-1", gain=-0.2)
    path, height = made("2", LEARNED), len(world.ledger.read())
    (weights,) = world.home.mlflow_artifacts.glob("**/adapter_model.safetensors")
    weights.write_bytes(b"other weights")
    with pytest.raises(RegistryError, match="files were changed"):
        apply(world, "2", path)
    assert len(world.ledger.read()) == height
    assert world.aliases["champion"] == "1"


class Killed(Exception):
    """Stands for a kill -9: nobody catches it."""


@pytest.mark.parametrize(
    "at",
    [
        "present",
        "_remember_result",
        "replay_store.remember",
        "learned.remember",
        "Registry.promote",
    ],
)
def test_a_killed_application_is_finished_by_the_same_command(
    world: World, made: Made, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    world.update("u-1", gain=-0.2)
    path = made("2", LEARNED)

    def killed(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(f"tidegate.flows.deciding.again.{at}", killed)
        with pytest.raises(Killed):
            apply(world, "2", path)
    height = len(world.ledger.read())
    done = apply(world, "2", path, now=SOON + timedelta(hours=1))
    assert len(world.ledger.read()) == height
    assert world.aliases["champion"] == "2"
    assert world.registry.find("m", "2").tags["gov.statement"] == done.statement


def test_an_update_that_runs_is_not_disturbed(world: World, made: Made) -> None:
    world.update("u-1", gain=-0.2)
    path = made("2", LEARNED)
    with FileLock(world.home.updates / "m.lock"), pytest.raises(UsageError, match="running"):
        apply(world, "2", path)
    apply(world, "2", path)


def test_the_list_says_which_count_which_expired_and_which_are_refused(
    world: World, made: Made
) -> None:
    world.update("u-1", refusal=-0.5, gain=-0.2)
    states = {
        made("2", LEARNED): "counts",
        made("2", REFUSAL, lasts=60): "expired",
        made("2", REFUSAL, signer="carl"): "refused",
    }
    done = apply(world, "2", next(iter(states)))
    broken = kept_path(world.home, digest_bytes(b"broken"))
    write(broken, b"{")
    found = {Path(c.path): c for c in list_waivers(world.home, "m", SOON)}
    assert {path: c.state for path, c in found.items()} == {**states, broken: "refused"}
    assert {c.statement for c in found.values()} == {done.statement, None}
    assert [c.path for c in list_waivers(world.home, "other", SOON)] == [str(broken)]
    assert json.loads(found[broken].model_dump_json())["reasons"]


def test_the_commands_end_to_end(world: World) -> None:
    """Two people, four eyes, then a promotion: what a user types."""
    rules = world.policy("quorum: 2, valid_for: 72h")
    world.update("u-1", rules, gain=-0.2)
    path, where = str(world.folder / "w.json"), ["--home", str(world.home.root)]

    def run(*words: str, ends: int = 0) -> str:
        done = CliRunner().invoke(commands, [*words, "--json"])
        assert done.exit_code == ends, done.output
        return done.stdout

    key = ["--key", str(world.folder / "ada.pem")]
    said_why = ["--gate", LEARNED, "--reason", "r", "--ticket", "t", "--requester", "dora"]
    made = run("new", "candidate", "--model", "m", *said_why, *key, "--out", path, *where)
    assert json.loads(made)["reasons"] == ["1 of 2 reviewers signed it"]
    run("verify", path, *where, ends=1)
    run("sign", path, "--key", str(world.folder / "bob.pem"))
    run("verify", path, *where)
    file = next(p for p in world.folder.glob("*.yaml") if "quorum: 2" in p.read_text())
    floor = ["--floor", str(file)]  # its own floor: the shipped one asks for other gates
    assert json.loads(run("verify", path, "--policy", str(file), *floor))["state"] == "counts"
    assert json.loads(run("list", *where)) == []
    done = json.loads(run("apply", "2", "--model", "m", "--waiver", path, *where))
    assert (done["decision"]["action"], world.aliases["champion"]) == ("promote", "2")
    (kept,) = json.loads(run("list", "--model", "m", *where))
    assert (kept["state"], kept["statement"]) == ("counts", done["statement"])
    shown = CliRunner().invoke(commands, ["list", *where]).stdout
    assert "counts" in shown and "ada, bob" in shown
