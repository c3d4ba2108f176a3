"""Ledger against registry, tampered with by MLflow's own client and the file system as an
attacker would. One history is made; every test starts from a copy of it."""

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from tests.tiny import tiny_base
from tests.waiver_world import LEARNED, NOW, World
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
from tidegate.flows.registry import Registry, RegistryError
from tidegate.flows.rollback import rollback
from tidegate.flows.usage import UsageError
from tidegate.flows.waiving.apply import apply_waivers
from tidegate.flows.waiving.waivers import new_waiver, write
from tidegate.gates.audit import BrokenLedger
from tidegate.gates.types import Candidate
from tidegate.training.adapter import adapter_digest

pytestmark = pytest.mark.slow
ALIASES = {"champion": "3", "previous": "2", "anchor": "1", "candidate": "4"}
Found = list[tuple[Kind, str]]


class Killed(BaseException):
    """Stands for a kill -9: nobody catches it."""


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


# Repair


@pytest.mark.parametrize(
    "case",
    [
        "to a held version", "previous moved", "anchor deleted", "champion deleted", "verdict",
        "statement deleted", "a digest too many", "parent",
    ],
)  # fmt: skip
def test_aliases_and_tags_are_put_back(world: World, case: str) -> None:
    before = {v.version: (v.tags, v.aliases) for v in world.registry.versions("m")}
    TAMPERED[case][0](world)
    done = repair(world.home, "m", NOW)
    assert done is not None
    assert {v.version: (v.tags, v.aliases) for v in world.registry.versions("m")} == before
    digest, record = world.ledger.read()[-1]
    about = record["predicate"]["about"]
    assert (done.statement, record["predicate"]["act"]) == (digest, "repair")
    assert (about["aliases"], about["tags"]) == (done.aliases, done.tags)
    assert found(world) == [] and repair(world.home, "m", NOW) is None


@pytest.mark.parametrize("file", ["adapter_model.safetensors", "candidate.json"])
def test_a_champion_whose_files_changed_is_not_put_back(world: World, file: str) -> None:
    alias("champion", "2")(world)
    change(stored(world, "3", file))
    height = len(world.ledger.read())
    with pytest.raises(Unreconciled, match="Roll back to one that is whole"):
        repair(world.home, "m", NOW)
    assert len(world.ledger.read()) == height and world.aliases["champion"] == "2"
    done = rollback("m", world.home, to="2", reason="changed files", tracking_uri=None)
    assert (done["was"], done["now"]) == ("3", "2")
    assert repair(world.home, "m", NOW) is None


def test_a_repair_killed_at_any_step_is_finished_by_the_same_command(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at every write to MLflow, to the ledger and to the plan, in turn."""
    steps = (
        "tidegate.flows.registry.Registry._set_alias",
        "tidegate.flows.registry.Registry.annotate",
        "tidegate.flows.durable.append",
        "tidegate.flows.durable.replace",
        "pathlib.Path.unlink",
    )
    once = []
    for case in ("to a held version", "previous moved", "verdict", "a digest too many"):
        TAMPERED[case][0](world)
        once.append(case)
    height, step, survived = len(world.ledger.read()), 0, False
    while not survived:
        step += 1
        assert step < 40
        with monkeypatch.context() as patch:
            _kill_at(patch, steps, step)
            try:
                repair(world.home, "m", NOW)
                survived = True
            except Killed:
                pass
        repair(world.home, "m", NOW)
        assert found(world) == [] and world.aliases == ALIASES
        acts = [r["predicate"]["act"] for _, r in world.ledger.read()[height:]]
        assert acts == ["repair"] * step, "the same act is written once"
        for case in once:
            TAMPERED[case][0](world)
    assert step > 6


def _kill_at(patch: pytest.MonkeyPatch, names: tuple[str, ...], step: int) -> None:
    left = [step]
    for name in names:
        owner, _, attribute = name.rpartition(".")
        real = _resolve(owner, attribute)

        def act(*given: object, _real: Callable[..., object] = real, **more: object) -> object:
            left[0] -= 1
            if left[0] == 0:
                raise Killed
            return _real(*given, **more)

        patch.setattr(name, act)


def _resolve(owner: str, attribute: str) -> Callable[..., object]:
    from pydoc import locate

    found: Callable[..., object] = getattr(locate(owner), attribute)
    return found


# What a killed command leaves behind


def test_a_promotion_that_was_killed_is_told_from_tampering(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    later, path = NOW + timedelta(hours=1), world.folder / "w.json"
    data = new_waiver(
        world.home, "m", "4", gate=LEARNED, reason="r", ticket="t", requester="dora",
        lasts=48 * 3600, now=NOW, signer=world.signers["ada"],
    )  # fmt: skip
    write(path, data)
    for at in ("present", "Registry.promote"):
        with monkeypatch.context() as patch:
            patch.setattr(f"tidegate.flows.deciding.again.{at}", _killed)
            with pytest.raises(Killed):
                apply_waivers(world.home, "m", "4", [path], now=later)
        assert {f.kind for f in compare(world.home, "m").findings} == {Kind.UNFINISHED}
        assert all("same command" in f.do for f in compare(world.home, "m").findings)
        assert repair(world.home, "m", NOW) is None, "a repair finishes no update"
        require_aliases(world.home, world.registry, ledger_says(world.home, "m"))
    apply_waivers(world.home, "m", "4", [path], now=later)
    assert found(world) == [] and world.aliases["champion"] == "4"
    # The same place, but the promotion came to its end: now somebody moved it.
    alias("champion", "3")(world)
    assert found(world) == [(MOVED, "3")]
    with pytest.raises(Unreconciled, match="moved by hand"):
        require_aliases(world.home, world.registry, ledger_says(world.home, "m"))


def _killed(*_: object, **__: object) -> None:
    raise Killed


@pytest.mark.parametrize("by", ["rollback", "repair"])
def test_a_rollback_that_was_killed_is_finished(
    world: World, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("tidegate.flows.rollback.Registry.rollback", _killed)
        with pytest.raises(Killed):
            rollback("m", world.home, to=None, reason="a test", tracking_uri=None)
    (finding,) = compare(world.home, "m").findings
    assert finding.kind is Kind.UNFINISHED and "--to 2" in finding.do
    with pytest.raises(Unreconciled, match="a rollback was killed"):
        require_aliases(world.home, world.registry, ledger_says(world.home, "m"))
    if by == "rollback":
        rollback("m", world.home, to=None, reason="a test", tracking_uri=None)
    else:
        assert repair(world.home, "m", NOW) is not None
    assert found(world) == [] and world.aliases["champion"] == "2"


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
    from tidegate.flows.reconcile import reconcile

    home = str(world.home.root)
    assert reconcile(home=home, return_state=True).is_completed()
    tag("3", "gov.verdict", "hold")(world)
    state = reconcile(home=home, return_state=True)
    assert state.is_failed() and "1 findings" in str(state.message)


def test_every_deployment_starts_a_flow_with_parameters_that_it_has() -> None:
    from importlib import import_module

    root = Path(__file__).parents[1]
    deployments = yaml.safe_load((root / "prefect.yaml").read_text())["deployments"]
    assert [one["name"] for one in deployments] == ["update", "reconcile"]
    for one in deployments:
        path, _, name = one["entrypoint"].partition(":")
        assert (root / path).is_file()
        flow = getattr(import_module(f"tidegate.{path[:-3].replace('/', '.')}"), name)
        assert set(one.get("parameters", {})) <= set(flow.parameters.properties)
        assert set(flow.parameters.required or ()) <= set(one.get("parameters", {}))
        (schedule,) = one["schedules"]
        assert len(schedule["cron"].split()) == 5 and schedule["active"]


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
