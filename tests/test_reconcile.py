"""Ledger against registry: what was tampered with is found, and is not served."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.reconciling import (
    ALIASES,
    MOVED,
    NO_ALIAS,
    NO_VERSION,
    TAMPERED,
    alias,
    by_hand,
    changed,
    found,
    history,
    no_alias,
    replaced,
    stored,
    tag,
    world,
)
from tests.tiny import tiny_base
from tests.waiver_world import BASE, NOW, World
from tidegate.flows.cli import app
from tidegate.flows.errors import BROKEN_ERRORS
from tidegate.flows.home import Home
from tidegate.flows.line import open_line
from tidegate.flows.reconciling.compare import compare
from tidegate.flows.reconciling.finding import Finding, Kind, Unreconciled
from tidegate.flows.reconciling.repair import repair
from tidegate.flows.reconciling.serving import (
    ledger_says,
    require_aliases,
    require_recorded,
)
from tidegate.flows.reconciling.show import findings_page
from tidegate.flows.registry import RegistryError
from tidegate.flows.rollback import rollback
from tidegate.flows.usage import UsageError
from tidegate.gates.audit import BrokenLedger, statement
from tidegate.gates.types import Candidate
from tidegate.training.adapter_digest import adapter_digest

__all__ = ["history", "world"]
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("case", TAMPERED)
def test_tampering_is_found(world: World, case: str) -> None:
    tamper, expected = TAMPERED[case]
    tamper(world)
    seen = compare(world.home, "m")
    assert sorted((f.kind, f.version) for f in seen.findings) == sorted(expected)
    assert all(finding.what and finding.do for finding in seen.findings)
    assert seen.exit_code == 1


def test_a_clean_history_has_no_findings(world: World) -> None:
    seen = compare(world.home)
    assert (seen.models, seen.versions, seen.findings) == (("m",), 4, ())
    rollback("m", world.home, to=None, reason="a test", tracking_uri=None)
    assert found(world) == []
    rollback("m", world.home, to="anchor", reason="a test", tracking_uri=None)
    assert found(world) == [] and world.aliases["champion"] == "1"


def test_a_version_of_nobody_and_a_model_of_another_home(world: World) -> None:
    client = world.registry.client
    client.create_registered_model("not-ours")
    run = world.registry.find("m", "3")
    client.create_model_version("not-ours", run.source, run.run_id)
    assert compare(world.home).models == ("m",)
    client.set_model_version_tag("not-ours", "1", "gov.update_id", "u-1")
    (finding,) = compare(world.home).findings
    assert (finding.kind, finding.model) == (Kind.UNKNOWN_VERSION, "not-ours")
    with pytest.raises(UsageError, match="neither ledger nor registry"):
        compare(world.home, "nobody")


def test_weights_that_an_erasure_deletes_are_not_missed(world: World) -> None:
    adapter = stored(world, "4", "adapter_config.json").parent

    def act(name: str, model: str, versions: list[object]) -> None:
        about = {"decision_id": name, "versions": versions}
        world.ledger.append(
            statement(
                act=name, model=model, subjects={"plan": BASE}, about=about, decided_at=NOW
            )
        )

    act("forget", "", [{"model": "m", "version": "4"}])
    assert found(world) == []
    shutil.copytree(adapter, world.home.root / "copy")
    shutil.rmtree(adapter)
    (finding,) = compare(world.home, "m").findings
    assert finding.kind is Kind.UNFINISHED and "same command" in finding.do
    act("erase", "m", ["4"])
    assert found(world) == []
    shutil.copytree(world.home.root / "copy", adapter)
    assert found(world) == [(Kind.NOT_ERASED, "4")]
    shutil.rmtree(adapter)
    alias("champion", "4")(world)
    (finding,) = compare(world.home, "m").findings
    assert finding.kind is MOVED and "weights were erased" in finding.what


def test_what_cannot_be_asked_is_never_well(world: World, tmp_path: Path) -> None:
    with pytest.raises(Unreconciled, match="does not answer"):
        compare(world.home, tracking_uri="http://127.0.0.1:9")
    lost = Home(tmp_path)  # the ledger with an empty registry
    shutil.copytree(
        world.home.root, lost.root, dirs_exist_ok=True,
        ignore=shutil.ignore_patterns("mlflow.db*", "mlartifacts"),
    )  # fmt: skip
    assert {f.kind for f in compare(lost).findings} == {NO_ALIAS, NO_VERSION}
    lines = world.home.ledger.read_bytes().splitlines(keepends=True)
    world.home.ledger.write_bytes(b"".join(lines[:-1]))
    with pytest.raises(BrokenLedger):
        compare(world.home)
    assert {BrokenLedger, Unreconciled} <= set(BROKEN_ERRORS)


def test_words_from_the_registry_become_no_markup(world: World) -> None:
    tag("3", "gov.parent", "<img src=x> [link](http://x) |\n# head")(world)
    page = findings_page(compare(world.home))
    assert "<img" not in page and "](http" not in page and "\n# head" not in page


# Nothing is served from a version that fails


@pytest.mark.parametrize(
    ("tamper", "says"),
    [
        (alias("champion", "4"), "champion of 'm' is at version 4, .* has it at version 3"),
        (alias("champion", "2"), "champion of 'm' is at version 2"),
        (alias("anchor", "2"), "anchor of 'm' is at version 2"),
        (no_alias("anchor"), "anchor of 'm' is at version none"),
    ],
)
def test_a_line_with_a_moved_alias_is_not_continued(
    world: World, tamper: Callable[[World], object], says: str
) -> None:
    require_aliases(world.home, world.registry, ledger_says(world.home, "m"))
    tamper(world)
    with pytest.raises(Unreconciled, match=f"{says}.*tidegate reconcile --model m"):
        require_aliases(world.home, world.registry, ledger_says(world.home, "m"))


def test_only_what_the_ledger_decided_serves(world: World) -> None:
    must = ledger_says(world.home, "m")
    for version in "123":
        require_recorded(must, world.registry.load("m", version))
    with pytest.raises(Unreconciled, match="decided 'hold'"):
        require_recorded(must, world.registry.load("m", "4"))
    by_hand(dict(world.registry.find("m", "3").tags))(world)
    with pytest.raises(Unreconciled, match="knows nothing of version 5"):
        require_recorded(must, world.registry.load("m", "5"))
    replaced("3")(world)
    with pytest.raises(Unreconciled, match="files were changed after the decision"):
        require_recorded(must, world.registry.load("m", "3"))


def test_no_rollback_to_what_the_ledger_does_not_vouch_for(world: World) -> None:
    height = len(world.ledger.read())
    tag("4", "gov.verdict", "promote")(world)
    with pytest.raises(RegistryError, match="no way around the gates"):
        rollback("m", world.home, to="4", reason="a test", tracking_uri=None)
    stored(world, "2", "adapter_config.json").write_text("{} ")  # the same to who loads it
    assert world.registry.load("m", "2").version == "2"
    with pytest.raises(Unreconciled, match="files were changed"):
        rollback("m", world.home, to=None, reason="a test", tracking_uri=None)
    assert len(world.ledger.read()) == height and world.aliases["champion"] == "3"
    rollback("m", world.home, to="1", reason="a test", tracking_uri=None)
    assert world.aliases["champion"] == "1"


def test_changed_files_are_still_refused_by_the_registry_itself(world: World) -> None:
    changed("3", "adapter_model.safetensors")(world)
    with pytest.raises(RegistryError, match="files were changed"):
        world.registry.champion("m")


# The command and the flow


def test_the_command(world: World) -> None:
    def run(*words: str, ends: int) -> dict[str, list[dict[str, str]]]:
        words = ("reconcile", "--home", str(world.home.root), "--json", *words)
        done = CliRunner().invoke(app, words)
        assert done.exit_code == ends, done.output
        document: dict[str, list[dict[str, str]]] = json.loads(done.stdout)
        return document

    assert run(ends=0)["findings"] == []
    alias("champion", "4")(world)
    (finding,) = run("--model", "m", ends=1)["findings"]
    assert Finding.model_validate(finding, strict=False).kind is MOVED
    document = run("--repair", ends=0)
    assert document["findings"] == [] and len(document["repaired"]) == 1
    assert world.aliases == ALIASES
    changed("3", "adapter_model.safetensors")(world)
    assert len(run("--repair", ends=1)["findings"]) == 2, "files are not repaired"
    shown = CliRunner().invoke(app, ["reconcile", "--home", str(world.home.root)])
    assert shown.exit_code == 1 and "artifact_changed" in shown.stdout


@pytest.fixture
def engine() -> Iterator[None]:
    from tidegate.flows.engine import start_engine

    start_engine()
    yield


def test_the_flow_fails_where_there_are_findings(world: World, engine: None) -> None:
    from tidegate.flows.deployments.reconcile import reconcile

    home = str(world.home.root)
    assert reconcile(home=home, return_state=True).is_completed()
    tag("3", "gov.verdict", "hold")(world)
    state = reconcile(home=home, return_state=True)
    assert state.is_failed() and "1 findings" in str(state.message)


def test_an_update_stops_where_champion_was_moved_to_what_was_never_promoted(
    tmp_path: Path,
) -> None:
    base, home = str(tiny_base(tmp_path / "base")), Home(tmp_path / "home")
    line = open_line("m", base, home)
    assert open_line("m", base, home).champion.version == line.champion.version == "1"
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_model.safetensors").write_bytes(b"mine")
    (adapter / "adapter_config.json").write_text("{}")
    mine = Candidate(base=line.base.digest, adapter=adapter_digest(adapter), parent="1")
    run_id = line.registry.runs.start_update("m", "u-9")
    tags = {"gov.verdict": "promote", "gov.statement": "sha256:" + "0" * 64}
    line.registry.register("m", run_id, mine, adapter, update_id="u-9", tags=tags)
    line.registry.client.set_registered_model_alias("m", "champion", "2")
    with pytest.raises(
        Unreconciled, match="is at version 2, and the ledger has it at version 1"
    ):
        open_line("m", base, home)
    line.registry.client.delete_registered_model_alias("m", "champion")
    with pytest.raises(Unreconciled, match="is at version none"):
        open_line("m", base, home)
    assert repair(home, "m", NOW) is not None
    assert open_line("m", base, home).champion.version == "1"
