"""Documents on a real small history: what publishing stores, what the command writes."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.waiver_world import LEARNED, NOW, World, empty_database, world
from tidegate.flows.cli import app
from tidegate.flows.documents.account import find_account
from tidegate.flows.registry import RegistryError
from tidegate.flows.rollback import rollback
from tidegate.flows.usage import UsageError
from tidegate.flows.waiving.apply import apply_waivers
from tidegate.flows.waiving.waivers import new_waiver, write_new
from tidegate.gates.digest import digest_file

__all__ = ["empty_database", "world"]

pytestmark = pytest.mark.slow
ALL = ["README.md", "bom.cdx.json", "change.md"]


def stored(world: World, version: str) -> dict[str, Path]:
    """The documents among the version's review artifacts."""
    run = world.registry.find("m", version).run_id
    folder = world.registry.client.download_artifacts(run, "documents")
    return {path.name: path for path in sorted(Path(folder).iterdir())}


def written(world: World, version: str, out: Path) -> dict[str, str]:
    words = ["documents", version, "--model", "m", "--out", str(out), "--json"]
    done = CliRunner().invoke(app, [*words, "--home", str(world.home.root)])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["files"] == {name: digest_file(out / name) for name in said["files"]}
    files: dict[str, str] = said["files"]
    return files


def test_publishing_stores_what_the_command_writes(world: World, tmp_path: Path) -> None:
    world.update("u-1")
    kept = stored(world, "2")
    assert list(kept) == ALL
    files = written(world, "champion", tmp_path / "out")
    assert files == {name: digest_file(path) for name, path in kept.items()}
    made = json.loads(kept["bom.cdx.json"].read_text())
    names = {c["name"] for c in made["components"]}
    assert {"tiny", "batch", "python", "torch", "mlflow"} <= names


def test_what_was_rejected_before_training_has_a_change_record(
    world: World, tmp_path: Path
) -> None:
    world.update("u-1", kept=0.0)
    assert list(stored(world, "2")) == ["change.md"]
    words = ["documents", "2", "--model", "m", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, [*words, "--home", str(world.home.root)])
    assert done.exit_code == 0, done.output
    assert "not written: README.md, bom.cdx.json" in done.stdout


def test_a_waiver_and_a_rollback_are_in_the_documents(world: World, tmp_path: Path) -> None:
    world.update("u-1", gain=-0.2)
    assert "Held for a person" in stored(world, "2")["README.md"].read_text()
    path = tmp_path / "w.json"
    data = new_waiver(
        world.home,
        "m",
        "2",
        gate=LEARNED,
        reason="| a <b>withdrawn</b> product",
        ticket="OPS-1",
        requester="dora",
        lasts=3600,
        now=NOW,
        signer=world.signers["ada"],
    )
    write_new(path, data)
    apply_waivers(world.home, "m", "2", [path], now=NOW)
    kept = stored(world, "2")
    assert "with waivers" in kept["README.md"].read_text()
    assert "dora" not in kept["README.md"].read_text() + kept["bom.cdx.json"].read_text()
    record = kept["change.md"].read_text()
    assert "dora" in record and "<b>" not in record
    assert written(world, "2", tmp_path / "out") == {
        name: digest_file(kept[name]) for name in ALL
    }
    rollback("m", world.home, to=None, reason="a test", tracking_uri=None)
    later = written(world, "2", tmp_path / "later")
    assert later["change.md"] != digest_file(kept["change.md"])
    assert later["README.md"] == digest_file(kept["README.md"])
    assert "from version 2 to version 1" in (tmp_path / "later" / "change.md").read_text()


def test_weights_that_were_changed_have_no_documents(world: World) -> None:
    world.update("u-1")
    (weights,) = world.home.mlflow_artifacts.glob("**/adapter_model.safetensors")
    weights.write_bytes(b"other weights")
    with pytest.raises(RegistryError, match="files were changed"):
        find_account(world.home, "m", "2")


def test_the_base_has_no_documents_of_ours(world: World) -> None:
    with pytest.raises(UsageError, match="no decision about version 1"):
        find_account(world.home, "m", "anchor")
    with pytest.raises(RegistryError):
        find_account(world.home, "m", "7")
