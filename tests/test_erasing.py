"""Erasing rows from the stores of a home: planned, refused ever after, and killed anywhere."""

import gzip
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.ingesting import NOW, drop, record
from tests.lineage_world import MODEL, World
from tests.test_quarantine import given
from tidegate.flows import learned, replay_store
from tidegate.flows.checking import quarantine
from tidegate.flows.context.store import Entry, entries, put, query
from tidegate.flows.erasing import erase, stores, texts, tombstones
from tidegate.flows.erasing.forget import plan_of, wanted_of
from tidegate.flows.erasing.plan import Plan, make_plan
from tidegate.flows.erasing.state import State, load, request_of, save
from tidegate.flows.erasing.verify import holds_any
from tidegate.flows.home import Home
from tidegate.flows.ingest import IngestError, ingest
from tidegate.flows.intake.batches import RECORDS, load_batch
from tidegate.flows.intake.pseudonym import pseudonym, pseudonym_key
from tidegate.flows.intake.stored import stored_batch
from tidegate.flows.tracing.marks import Marker
from tidegate.flows.tracing.record import reach_of
from tidegate.flows.tracing.steps import read_steps
from tidegate.flows.tracing.wanted import Wanted
from tidegate.flows.usage import UsageError

BEGUN = {"valid_from": None, "valid_until": datetime(2100, 1, 1, tzinfo=UTC)}
ALIASES = {MODEL: {"champion": "3", "previous": "2", "anchor": "1"}}


class Killed(BaseException):
    """A process that ends here and now."""


def home_with(folder: Path) -> World:
    """Two promoted updates and a held one, with all that they leave in the stores."""
    folder.mkdir(exist_ok=True)
    world = World(folder)
    a, b, c = (world.batch(first) for first in (0, 10, 20))
    for update, batch in (
        (world.update(2, 1, a, refuse={"r5"}), a),
        (world.update(3, 2, b, replay={"r1", "r2"}, of=a), b),
        (world.update(4, 3, c, action="hold"), c),
    ):
        work = world.home.updates / update
        (work / "train" / "adapter").mkdir(parents=True)
        (work / "scaled" / "0.5").mkdir(parents=True)
        (work / "scaled" / "0.5" / "adapter_model.safetensors").write_bytes(b"")
        (work / "train" / "adapter" / "adapter_config.json").write_text("{}")
        (work / "update_suite").mkdir()
        (work / "update_suite" / "update.jsonl").write_text('{"question": "question 1"}')
        (work / "update_suite" / "past_updates.jsonl").write_text('{"question": "r1"}')
        if "4" not in update:
            replay_store.remember(world.home, batch, work / "check" / "kept.parquet")
            learned.remember(world.home, batch, work / "check" / "kept.parquet")
    dated = [
        Entry(id=name, question=f"{name}?", answer=f"{name}.", **BEGUN, why="dated")
        for name in ("r1", "r2")
    ]
    put(world.home, a, dated)
    query(world.home, "r1", datetime.now(UTC))  # leaves an index with the words
    quarantine.store(world.home, a, [given(5, text="question")], ["r5"])
    return world


def planned(world: World, wanted: Wanted) -> Plan:
    reach = reach_of(world.home, wanted, ALIASES)
    return make_plan(read_steps(world.home), reach, ALIASES)


def erased(world: World, wanted: Wanted) -> State:
    """The steps of an erasure that need no registry; goes on where an earlier one was killed."""
    home, request = world.home, request_of(wanted)
    state = load(home, request)
    if state is None:
        state = save(home, State(request=request, plan=planned(world, wanted)))
    wide = tombstones.read(home, request) or erase.widened(home, wanted)
    tombstones.bury(home, request, wide)
    texts.collect(home, request, wide)
    state = erase.smaller_batches(home, state, wide, needed=True)
    stores.forget_learned(home, wide, state.batches)
    stores.forget_context(home, wide, state.batches)
    stores.forget_quarantined(home, wide)
    stores.forget_weights(home, state.plan.weights)
    stores.forget_in_updates(home, wide)
    stores.forget_batches(home, state.plan.batches, wide)
    return state


def held(home: Home, word: str, *, besides: str = "") -> list[Path]:
    """Files with the word in quotes, as rows have it, or in an id's line."""
    forms = [f'"{word}"'.encode()]
    files = (p for p in home.root.rglob("*") if p.is_file() and p.name != besides)
    return [p for p in files if holds_any(p, forms)]


PLANS = {  # who: champion's ancestor and updates again, versions whose weights go
    "r0": ("1", ["2", "3"], ["2", "3", "4"]),
    "r10": ("2", ["3"], ["3", "4"]),
    "r20": (None, [], ["4"]),
    "r5": (None, [], []),
}


@pytest.mark.parametrize("name", PLANS)
def test_the_rebuild_begins_at_the_last_clean_ancestor(tmp_path: Path, name: str) -> None:
    world = home_with(tmp_path)
    ancestor, again, gone = PLANS[name]
    plan = planned(world, wanted_of(world.home, [name], []))
    assert [line.ancestor for line in plan.lines] == ([ancestor] if ancestor else [])
    assert [a.version for line in plan.lines for a in line.rebuild] == again
    assert [w.version for w in plan.weights] == gone
    assert len(plan.batches) == 1


def test_an_author_is_named_by_name_or_pseudonym(tmp_path: Path) -> None:
    home = Home(tmp_path)
    by_name = wanted_of(home, [], ["alice1"])
    assert (
        wanted_of(home, [], [pseudonym(pseudonym_key(home), "alice1")]).authors
        > by_name.authors
    )
    assert wanted_of(home, [], ["alice2"]).authors.isdisjoint(by_name.authors)


@pytest.fixture
def killed_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Ends the process at the nth change of the disk from now on; 0: never."""
    with monkeypatch.context() as patch:
        left = [0]

        def counted(real: Callable[..., Any]) -> Callable[..., Any]:
            def act(*given: Any, **more: Any) -> Any:
                left[0] -= 1
                if left[0] == 0:
                    raise Killed
                return real(*given, **more)

            return act

        for owner, name in ((Path, "replace"), (Path, "rename"), (shutil, "rmtree")):
            patch.setattr(owner, name, counted(getattr(owner, name)))

        def arm(step: int) -> None:
            left[0] = step or -1

        yield arm


def whole(world: World, name: str, *, user: str | None = None) -> None:
    """Everything that must be so when the record is erased, and nothing else has changed."""
    home = world.home
    assert not held(home, name, besides="texts.json")
    kept = pq.read_table(home.updates / f"u-{MODEL}-3" / "check" / "kept.parquet")
    assert kept.num_rows == (4 if user else 6)
    assert [
        row["id"] for b in quarantine.batches(home) for t in quarantine.read(home, b)
        for row in t.to_pylist()
    ] == ["r5"]  # fmt: skip
    looked_up = [(home.batch(f"sha256:{b}").exists(), entry.id) for b, entry in entries(home)]
    assert looked_up == [(True, "r2")], "under the batch that took the old one's place"
    assert not (home.cache / "context.db").exists()
    assert not list(home.updates.rglob("*.safetensors"))
    assert not list(home.updates.glob("u-*/train")) and not list(home.root.glob("work/[0-9]*"))
    for path in (home.root / "batches").glob(f"*/{RECORDS}"):
        load_batch(home, f"sha256:{path.parent.name}", thorough=True)


def test_killed_at_any_change_it_is_finished_by_the_same_command(
    tmp_path: Path, killed_at: Callable[[int], None]
) -> None:
    survived = 0
    for step in range(1, 80):
        world = home_with(tmp_path / str(step))
        wanted = wanted_of(world.home, ["r1"], [])
        killed_at(step)
        try:
            erased(world, wanted)
            survived = step
        except Killed:
            pass
        killed_at(0)
        state = erased(world, wanted)
        whole(world, "r1")
        old, new = next(iter(state.batches.items()))
        assert not world.home.batch(old).exists() and new is not None
        assert load_batch(world.home, new, thorough=True).rows == 5
        shutil.rmtree(tmp_path / str(step), ignore_errors=True)
        if survived:
            break
    assert survived > 15, "it was killed at every change before it came through"


def test_all_of_an_author_is_erased_everywhere(tmp_path: Path) -> None:
    world = home_with(tmp_path)
    name = pseudonym(pseudonym_key(world.home), "alice1")
    assert held(world.home, name)
    state = erased(world, wanted_of(world.home, [], ["alice1"]))
    whole(world, name, user="alice1")
    for one in ("r1", "r4", "r10", "r13", "r22"):
        assert not held(world.home, one, besides="texts.json"), one
    assert len(state.batches) == 3
    counts = learned.learned_before(world.home, "sha256:" + "0" * 64).by_author
    assert name not in counts


def test_a_batch_of_one_author_alone_leaves_none(tmp_path: Path) -> None:
    world = home_with(tmp_path)
    state = erased(world, wanted_of(world.home, [f"r{n}" for n in range(6)], []))
    assert list(state.batches.values()) == [None]
    assert entries(world.home) == []


def test_what_is_erased_is_never_taken_in_checked_or_replayed(tmp_path: Path) -> None:
    world = home_with(tmp_path)
    old, second = world.batch(0), world.batch(10)
    wanted = wanted_of(world.home, ["r1"], [])
    before = tombstones.Erased(world.home)
    tombstones.bury(world.home, "f-1", wanted)
    after = tombstones.Erased(world.home)
    source = world.home.batch(old) / RECORDS
    before.refuse(source)
    with pytest.raises(UsageError, match="1 records that were erased"):
        after.refuse(source)
    after.refuse(world.home.batch(second) / RECORDS)
    drawn = replay_store.draw(world.home, [old], 9, 1, (), tmp_path / "drawn.parquet")
    assert drawn.path and "r1" not in pq.read_table(drawn.path)["id"].to_pylist()
    again = world.batch(0)
    assert again != old and world.rows(again)["id"].to_pylist() == [
        "r0",
        "r2",
        "r3",
        "r4",
        "r5",
    ]


def test_a_damaged_tombstone_lets_nothing_through(tmp_path: Path) -> None:
    world = World(tmp_path)
    tombstones.bury(world.home, "f-1", wanted_of(world.home, ["r1"], []))
    tombstones.place(world.home, "f-1").write_text("{")
    with pytest.raises(UsageError, match="damaged"):
        world.batch(0)


@pytest.mark.parametrize(
    ("key", "file"),
    [
        ("lineage.key", "erased/f-1.json"),
        ("lineage.key", "lineage/u-1.parquet"),
        ("pseudonym.key", "erased/f-1.json"),
        ("pseudonym.key", "learned/0.parquet"),
    ],
)
def test_a_lost_key_is_never_made_anew_beside_what_it_made(
    tmp_path: Path, key: str, file: str
) -> None:
    home = Home(tmp_path)
    ask = {
        "lineage.key": lambda: Marker(home).record("r1"),
        "pseudonym.key": lambda: pseudonym_key(home),
    }[key]
    before = ask()
    (home.root / file).parent.mkdir()
    (home.root / file).write_bytes(b"{}")
    assert ask() == before
    path = home.keys / key
    kept = path.rename(tmp_path / "backup")
    with pytest.raises(IngestError, match="restore it from a backup"):
        ask()
    assert not path.exists()
    kept.rename(path)
    assert ask() == before


def test_without_its_key_no_tombstone_is_passed_over(tmp_path: Path) -> None:
    home = Home(tmp_path)
    tombstones.bury(home, "f-1", wanted_of(home, ["r1"], []))
    assert tombstones.Erased(home).names("r1", "u_1")
    (home.keys / "lineage.key").unlink()
    with pytest.raises(IngestError, match=r"lineage\.key: the key of the lineage is gone"):
        tombstones.Erased(home).names("r1", "u_1")


def test_a_row_without_consent_is_forgotten_by_its_id(tmp_path: Path) -> None:
    world = World(tmp_path)
    home, name = world.home, "ticket-00931"
    rows = [record(0), record(1, id=name, consent=False), record(2, id="other", consent=False)]
    out = home.updates / "arrived" / "x"
    ingest([drop(tmp_path / "d.jsonl", *rows)], home=home, out=out,
           pseudonym_key=pseudonym_key(home), now=NOW)  # fmt: skip
    wanted = wanted_of(home, [name], [])
    plan = plan_of(home, wanted, None, None)
    assert (plan.listed, plan.batches) == (1, ())
    state = erased(world, wanted)
    assert texts.load(home, state.request).pieces == (name,)
    assert [json.loads(line)["id"] for line in (out / "dropped.jsonl").open()] == ["other"]
    with pytest.raises(UsageError, match="ever held"):
        plan_of(home, wanted_of(home, ["ticket-00932"], []), None, None)


def test_what_only_its_owner_may_read_stays_so(tmp_path: Path) -> None:
    world = home_with(tmp_path)
    private = [*(world.home.root / "context").glob("*.jsonl"), *world.home.replay.glob("*")]
    for path in private:
        path.chmod(0o600)
    erased(world, wanted_of(world.home, ["r1"], []))
    now = [*(world.home.root / "context").glob("*.jsonl"), *world.home.replay.glob("*")]
    assert len(now) == len(private) > 1
    assert {path.stat().st_mode & 0o777 for path in now} == {0o600}


def test_what_others_say_too_is_not_looked_for(tmp_path: Path) -> None:
    world = home_with(tmp_path)
    request = request_of(wanted := wanted_of(world.home, ["r1"], []))
    found = texts.collect(world.home, request, wanted)
    assert found.pieces == (), "'question 1' is in 'question 10', and short"
    world.batch(100, 1)
    mine = wanted_of(world.home, ["r100"], [])
    alone = texts.collect(world.home, request_of(mine), mine)
    assert "question 100" in alone.pieces and all("100" in piece for piece in alone.pieces)


def packed(folder: Path, text: bytes) -> dict[str, Path]:
    """The same text in every wrapping that the search opens."""
    folder.mkdir(exist_ok=True)
    files = {name: folder / name for name in ("plain", "gzip", "twice", "zip", "parquet")}
    files["plain"].write_bytes(b"..." + text + b"...")
    files["gzip"].write_bytes(gzip.compress(text))
    files["twice"].write_bytes(gzip.compress(gzip.compress(text)))
    with zipfile.ZipFile(files["zip"], "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inside", text)
    rows = stores.pa.table({"messages": [[{"content": text.decode()}]]})
    pq.write_table(rows, files["parquet"], compression="zstd")
    return files


def test_the_search_looks_into_every_wrapping(tmp_path: Path) -> None:
    text = 'the "Zanzibar" key\nlies ünder <the> mat'
    looked_for = texts.Texts(pieces=(text,), shared=0).forms()
    for name, path in packed(tmp_path / "with", text.encode()).items():
        assert holds_any(path, looked_for), name
    for name, path in packed(tmp_path / "without", b"nothing of the kind").items():
        assert not holds_any(path, looked_for), name


def test_a_stored_batch_is_a_drop_and_a_changed_one_is_none(tmp_path: Path) -> None:
    world = World(tmp_path)
    digest = world.batch(0)
    found = stored_batch([f"batch:{digest}"], world.home, tmp_path / "arrived")
    assert found is not None and found.digest == digest
    assert (tmp_path / "arrived" / "dropped.jsonl").read_bytes() == b""
    assert stored_batch(["drops/a.jsonl"], world.home, tmp_path) is None
    with pytest.raises(IngestError, match="alone"):
        stored_batch([f"batch:{digest}", "b.jsonl"], world.home, tmp_path)
    path = world.home.batch(digest) / RECORDS
    pq.write_table(pq.read_table(path).slice(1), path)
    with pytest.raises(IngestError, match="changed"):
        stored_batch([f"batch:{digest}"], world.home, tmp_path)
