"""Past updates: each is handed out whole, or by name with what is wrong with it."""

import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.past import MODEL, POLICY, World, data, digest, model
from tidegate.flows.looking_back.history import Lost, Past, past_updates
from tidegate.gates.audit import BrokenLedger, statement
from tidegate.gates.types import Action


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.decided(2, data(), model(), days_ago=40)
    world.decided(3, data(secrets=10), days_ago=2)
    return world


def found(world: World, since: datetime | None = None) -> list[Past | Lost]:
    return list(past_updates(world.home, MODEL, since))


def lost(world: World) -> str:
    """Why the first update is lost; the second must still be there."""
    first, second = found(world)
    assert isinstance(first, Lost)
    assert isinstance(second, Past)
    assert (first.entry.update_id, first.entry.version) == ("u-2", "2")
    return first.why


def rewrite(path: Path, change: Any) -> None:
    content = json.loads(gzip.decompress(path.read_bytes()))
    change(content)
    path.write_bytes(gzip.compress(json.dumps(content).encode()))


def test_an_update_comes_back_as_it_was_decided_on(world: World) -> None:
    first, second = found(world)
    assert isinstance(first, Past)
    assert isinstance(second, Past)
    assert first.policy == world.policy
    assert first.evidence_data == data()
    assert first.evidence_model == model()
    assert first.batch.rows == 48
    assert first.entry.action is Action.PROMOTE
    assert [ruled.gate for ruled in first.entry.rulings][:2] == ["fits_schema", "no_secrets"]
    assert second.evidence_model is None
    assert second.entry.action is Action.REJECT


def test_since_leaves_out_what_is_older(world: World) -> None:
    recent = found(world, datetime.now(UTC) - timedelta(days=30))
    assert [past.entry.version for past in recent] == ["3"]


def test_other_acts_and_other_lines_are_no_updates(world: World) -> None:
    for act, name in (("bless", MODEL), ("rollback", MODEL), ("decide", "another")):
        world.ledger.append(
            statement(
                act=act,
                model=name,
                subjects={"base": digest("base")},
                about={"decision_id": f"{act} {name}"},
                decided_at=datetime.now(UTC),
            )
        )
    assert len(found(world)) == 2


@pytest.mark.parametrize("name", ["policy", "evidence_data", "evidence_model"])
def test_a_file_that_is_gone_is_named(world: World, name: str) -> None:
    path = world.folder("u-2") / f"{name}.json.gz"
    path.unlink()
    assert lost(world).startswith(f"{path}: is gone")


@pytest.mark.parametrize("name", ["policy", "evidence_data", "evidence_model"])
@pytest.mark.parametrize("content", [b"\x1f\x8b", b"not gzip", gzip.compress(b"{}")[:-6]])
def test_a_file_that_cannot_be_read_is_named(world: World, name: str, content: bytes) -> None:
    path = world.folder("u-2") / f"{name}.json.gz"
    path.write_bytes(content)
    assert lost(world).startswith(f"{path}: cannot be read")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("evidence_data", lambda e: e["measurements"][0].update(value=1.0)),
        ("evidence_model", lambda e: e["measurements"].pop()),
        ("evidence_model", lambda e: e["measurements"][0].update(value=float("nan"))),
        ("policy", lambda p: p["statistics"].update(false_pass_rate=0.2)),
        ("policy", lambda p: p.update(digest="sha256:" + "0" * 64)),
        ("policy", lambda p: p.update(parent="somebody")),
    ],
)
def test_a_file_that_was_changed_is_named(world: World, name: str, change: Any) -> None:
    path = world.folder("u-2") / f"{name}.json.gz"
    rewrite(path, change)
    assert lost(world).startswith(f"{path}: is not what the statement was about")


def test_a_whole_policy_in_place_of_another_is_seen(world: World) -> None:
    world.policy_file.write_text(POLICY.replace("at_least: 0.05", "at_least: 0"))
    path = world.folder("u-2") / "policy.json.gz"
    path.write_bytes(gzip.compress(world.policy.model_dump_json().encode()))
    assert "is not what the statement was about" in lost(world)


def test_a_parent_is_part_of_what_is_held_against_the_statement(tmp_path: Path) -> None:
    (tmp_path / "parent.yaml").write_text(POLICY)
    child = "policy: child\nversion: 1\nwhy: a test\nextends: parent.yaml\n"
    world = World(tmp_path, child)
    world.decided(2, data(), model())
    (past,) = found(world)
    assert isinstance(past, Past)
    assert past.policy == world.policy
    assert past.policy.parent is not None
    path = world.folder("u-2") / "policy.json.gz"
    rewrite(path, lambda p: p["parent"]["statistics"].update(false_pass_rate=0.2))
    (past,) = found(world)
    assert isinstance(past, Lost)


def test_a_shape_of_another_version_is_told_apart_from_a_change(tmp_path: Path) -> None:
    """Measurement.settings was once a string: such evidence is whole, and cannot be read."""
    world = World(tmp_path)

    class Older:
        def model_dump(self, mode: str) -> dict[str, Any]:
            return older

        def model_dump_json(self, indent: int) -> str:
            return json.dumps(older)

    whole = data()
    older = whole.model_dump(mode="json")
    older["measurements"][0]["settings"] = "task 1"
    world.decided(2, whole, stored_as=Older())
    (past,) = found(world)
    assert isinstance(past, Lost)
    assert "written by another version of tidegate" in past.why
    assert "measurements.0.settings" in past.why


def test_a_broken_ledger_is_no_history(world: World) -> None:
    lines = world.home.ledger.read_text().splitlines()
    world.home.ledger.write_text("\n".join(lines[1:]) + "\n")
    with pytest.raises(BrokenLedger):
        found(world)


def test_a_decision_that_says_nothing_is_an_error(world: World) -> None:
    world.ledger.append(
        statement(
            act="decide",
            model=MODEL,
            subjects={"base": digest("base")},
            about={"decision_id": "u-9"},
            decided_at=datetime.now(UTC),
        )
    )
    with pytest.raises(BrokenLedger, match="is no record of a decision"):
        found(world)
