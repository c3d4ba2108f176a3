"""One small history, and the ways in which an attacker would tamper with it.

MLflow's own client and the file system do it; every test starts from a copy.
"""

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.waiver_world import World
from tidegate.flows.home import Home
from tidegate.flows.reconciling.compare import compare
from tidegate.flows.reconciling.finding import Kind
from tidegate.flows.registry import Registry
from tidegate.gates.types import Candidate
from tidegate.training.adapter_digest import adapter_digest

ALIASES = {"champion": "3", "previous": "2", "anchor": "1", "candidate": "4"}
Found = list[tuple[Kind, str]]


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Two promoted updates and a held one, made as the flow makes them."""
    empty = Home(tmp_path_factory.mktemp("empty"))
    Registry.open(empty)
    world = World(tmp_path_factory.mktemp("world"), empty.mlflow_database)
    for name, gain in (("u-1", 0.5), ("u-2", 0.5), ("u-3", -0.2)):
        world.update(name, gain=gain)
    assert world.aliases == ALIASES
    shutil.copytree(world.home.root, world.folder / "kept")
    return world


@pytest.fixture
def world(history: World) -> World:
    """The history as it was. MLflow keeps its database open, so that is written, not replaced."""
    root, kept = history.home.root, history.folder / "kept"
    for path in root.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif not path.name.startswith("mlflow.db"):
            path.unlink()
    shutil.copytree(kept, root, dirs_exist_ok=True, ignore=shutil.ignore_patterns("mlflow.db*"))
    source, target = sqlite3.connect(kept / "mlflow.db"), sqlite3.connect(root / "mlflow.db")
    with source, target:
        source.backup(target)
    source.close()
    target.close()
    return history


def found(world: World) -> Found:
    return [(f.kind, f.version) for f in compare(world.home, "m").findings]


def stored(world: World, version: str, name: str) -> Path:
    run_id = world.registry.find("m", version).run_id
    (path,) = world.home.mlflow_artifacts.glob(f"{run_id}/artifacts/model/**/{name}")
    return path


def change(path: Path) -> None:
    """One byte."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def alias(name: str, version: str) -> Callable[[World], object]:
    return lambda w: w.registry.client.set_registered_model_alias("m", name, version)


def no_alias(name: str) -> Callable[[World], object]:
    return lambda w: w.registry.client.delete_registered_model_alias("m", name)


def tag(version: str, key: str, value: str) -> Callable[[World], object]:
    return lambda w: w.registry.client.set_model_version_tag("m", version, key, value)


def no_tag(version: str, key: str) -> Callable[[World], object]:
    return lambda w: w.registry.client.delete_model_version_tag("m", version, key)


def changed(version: str, name: str) -> Callable[[World], object]:
    return lambda w: change(stored(w, version, name))


def gone(version: str, name: str) -> Callable[[World], object]:
    return lambda w: stored(w, version, name).unlink()


def by_hand(tags: dict[str, str]) -> Callable[[World], object]:
    def register(world: World) -> None:
        run = world.registry.find("m", "3")
        world.registry.client.create_model_version("m", run.source, run.run_id, tags=tags)

    return register


def replaced(version: str) -> Callable[[World], object]:
    """Another adapter with all that the registry compares it with: what used to pass."""

    def replace(world: World) -> None:
        weights = stored(world, version, "adapter_model.safetensors")
        weights.write_bytes(b"other weights")
        said = stored(world, version, "candidate.json")
        mine = Candidate.model_validate_json(said.read_bytes()).model_copy(
            update={"adapter": adapter_digest(weights.parent)}
        )
        said.write_text(mine.model_dump_json())
        tag(version, "gov.adapter_digest", str(mine.adapter))(world)
        assert world.registry.load("m", version).candidate == mine

    return replace


def beside(world: World) -> None:
    (stored(world, "3", "adapter_config.json").parent / "adapter_model.bin").write_bytes(b"x")


def deleted(world: World) -> None:
    world.registry.client.delete_registered_model("m")


MOVED, TAGS, FILES = Kind.ALIAS_MOVED, Kind.TAG_OVERWRITTEN, Kind.ARTIFACT_CHANGED
NO_FILE, NO_ALIAS, NO_VERSION = Kind.ARTIFACT_MISSING, Kind.ALIAS_MISSING, Kind.VERSION_MISSING
TAMPERED: dict[str, tuple[Callable[[World], object], Found]] = {
    "to a held version": (alias("champion", "4"), [(MOVED, "4")]),
    "to one that served before": (alias("champion", "2"), [(MOVED, "2")]),
    "previous moved": (alias("previous", "4"), [(MOVED, "4")]),
    "anchor moved": (alias("anchor", "2"), [(MOVED, "2")]),
    "champion deleted": (no_alias("champion"), [(NO_ALIAS, "3")]),
    "previous deleted": (no_alias("previous"), [(NO_ALIAS, "2")]),
    "anchor deleted": (no_alias("anchor"), [(NO_ALIAS, "1")]),
    "verdict": (tag("4", "gov.verdict", "promote"), [(TAGS, "4")]),
    "verdict deleted": (no_tag("4", "gov.verdict"), [(TAGS, "4")]),
    "statement": (tag("3", "gov.statement", "sha256:" + "0" * 64), [(TAGS, "3")]),
    "statement deleted": (no_tag("3", "gov.statement"), [(TAGS, "3")]),
    "adapter's digest": (tag("3", "gov.adapter_digest", "sha256:0"), [(TAGS, "3")]),
    "a digest too many": (tag("1", "gov.batch_digest", "sha256:0"), [(TAGS, "1")]),
    "parent": (tag("3", "gov.parent", "1"), [(TAGS, "3")]),
    "policy": (tag("3", "gov.policy_digest", "x"), [(TAGS, "3")]),
    "update": (tag("3", "gov.update_id", "u-9"), [(TAGS, "3")]),
    "version deleted": (
        lambda w: w.registry.client.delete_model_version("m", "4"),
        [(NO_VERSION, "4")],
    ),
    "model deleted": (
        deleted,
        [*((NO_ALIAS, v) for v in "321"), *((NO_VERSION, v) for v in "1234")],
    ),
    "weights": (
        changed("2", "adapter_model.safetensors"),
        [(FILES, "2"), (FILES, "2")],  # by its hash and by its signature
    ),
    "config": (changed("2", "adapter_config.json"), [(FILES, "2"), (FILES, "2")]),
    "signature": (changed("2", "adapter.sig"), [(FILES, "2")]),
    "base.json": (changed("1", "base.json"), [(FILES, "1")]),
    "candidate.json": (changed("3", "candidate.json"), [(FILES, "3")]),
    "weights gone": (
        gone("4", "adapter_model.safetensors"),
        [(NO_FILE, "4"), (FILES, "4")],
    ),
    "signature gone": (gone("4", "adapter.sig"), [(NO_FILE, "4")]),
    "candidate.json gone": (gone("4", "candidate.json"), [(NO_FILE, "4")]),
    "all files gone": (
        lambda w: shutil.rmtree(stored(w, "4", "candidate.json").parent),
        [(NO_FILE, "4")],
    ),
    "a file beside": (beside, [(FILES, "3"), (FILES, "3")]),
    "files and tags together": (
        replaced("3"),
        [(TAGS, "3"), (FILES, "3"), (FILES, "3"), (FILES, "3")],
    ),
    "registered by hand": (by_hand({}), [(Kind.UNKNOWN_VERSION, "5")]),
    "with forged tags": (
        by_hand({"gov.update_id": "u-9", "gov.verdict": "promote"}),
        [(Kind.STATEMENT_MISSING, "5")],
    ),
}
