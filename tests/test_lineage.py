"""Lineage: from a record to everything it touched, and back, without an id or a name kept."""

import shutil
from pathlib import Path

import pytest

from tests.lineage_world import MODEL, World
from tidegate.flows.tracing import index
from tidegate.flows.tracing.marks import Marker
from tidegate.flows.tracing.record import Reach, reach_of
from tidegate.flows.tracing.steps import ancestry, read_steps, with_descendants
from tidegate.flows.tracing.wanted import Wanted
from tidegate.flows.usage import UsageError


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Base 1, then 2 on records 0-5, 3 on 10-15 replaying r1, 4 (held) on 20-25, 5 on 30-35 from
    3, and one version of another line."""
    made = World(tmp_path)
    a, b, c, d = (made.batch(first) for first in (0, 10, 20, 30))
    made.update(2, 1, a, refuse={"r5"})
    made.update(3, 2, b, replay={"r1"}, of=a)
    made.update(4, 3, c, action="hold")
    made.update(5, 3, d)
    made.update(2, 1, b, model="other")
    return made


def reach(world: World, *ids: str, user: str | None = None) -> Reach:
    marker = Marker(world.home)
    users = world.rows(world.batch(0)).to_pylist() if user else []
    pseudonyms = {row["user"] for row in users if row["id"] == user}
    wanted = Wanted(
        frozenset(marker.record(name) for name in ids),
        frozenset(marker.author(name) for name in pseudonyms),
    )
    return reach_of(world.home, wanted, {MODEL: {"champion": "5", "previous": "3"}})


def affected(found: Reach) -> dict[str, str]:
    return {f"{v.model} {v.version}": v.why for v in found.versions}


CASES = {  # record: fates by version, why versions are affected
    "r0": ({"2": {"learned": 1}}, {"2": "learned", "3": "descends", "4": "descends", "5": "descends"}),
    "r1": (
        {"2": {"learned": 1}, "3": {"replayed": 1}},
        {"2": "learned", "3": "replayed", "4": "descends", "5": "descends"},
    ),
    "r5": ({"2": {"refused": 1}}, {}),
    "r20": ({"4": {"learned": 1}}, {"4": "learned"}),
    "r30": ({"5": {"learned": 1}}, {"5": "learned"}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_record_is_traced_to_all_it_touched(world: World, name: str) -> None:
    fates, why = CASES[name]
    found = reach(world, name)
    assert {one.version: one.rows for one in found.updates} == fates
    assert affected(found) == {f"{MODEL} {version}": reason for version, reason in why.items()}
    assert len(found.batches) == 1


def test_aliases_are_named_and_other_lines_too(world: World) -> None:
    found = reach(world, "r10")
    assert affected(found)["other 2"] == "learned"
    assert {v.version: v.aliases for v in found.versions if v.model == MODEL} == {
        "3": ("previous",), "4": (), "5": ("champion",),
    }  # fmt: skip


def test_an_author_is_all_of_his_records(world: World) -> None:
    found = reach(world, user="r2")  # of the batches 0, 10, 20 and 30, two rows each
    assert [sum(one.rows.values()) for one in found.updates][:2] == [2, 2]
    assert len(found.batches) == 4


def test_what_nobody_knows_touched_nothing(world: World) -> None:
    assert not reach(world, "r99").found


def test_updates_from_before_the_lineage_are_traced_from_their_files(world: World) -> None:
    fresh = reach(world, "r1")
    written = sorted((world.home.root / "lineage").iterdir())
    shutil.rmtree(world.home.root / "lineage")
    assert reach(world, "r1") == fresh
    assert sorted((world.home.root / "lineage").iterdir()) == written


def test_a_purged_batch_leaves_its_refusals_in_the_list(world: World) -> None:
    shutil.rmtree(world.home.batch(world.batch(0)))
    found = reach(world, "r5")
    assert [one.rows for one in found.updates] == [{"refused": 1}] and not found.batches


def test_the_lineage_holds_no_id_and_no_pseudonym(world: World) -> None:
    reach(world, "r1")
    rows = world.rows(world.batch(0)).to_pylist()
    names = {r["id"].encode() for r in rows} | {r["user"].encode() for r in rows}
    for path in (world.home.root / "lineage").iterdir():
        said = str(index.pq.read_table(path).to_pylist()).encode()
        assert not [n for n in names if b"'" + n + b"'" in said], path
    assert (world.home.keys / "lineage.key").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("damage", ["cut", "swapped"])
def test_a_damaged_lineage_is_an_error(world: World, damage: str) -> None:
    reach(world, "r1")
    first, second = (index.place(world.home, f"u-{MODEL}-{n}") for n in (2, 3))
    if damage == "cut":
        first.write_bytes(first.read_bytes()[:-40])
    else:
        shutil.copy(second, first)
    with pytest.raises(UsageError, match="damaged"):
        reach(world, "r1")


def test_the_way_back_to_the_base(world: World) -> None:
    steps = read_steps(world.home)
    assert [s.version for s in ancestry(steps, MODEL, "5")] == ["5", "3", "2"]
    assert ancestry(steps, MODEL, "1") == ()
    assert with_descendants(steps, [(MODEL, "3")]) == {(MODEL, v) for v in ("3", "4", "5")}
