"""The registry on a real MLflow: SQLite and files in a temporary folder."""

import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tidegate.flows.home import Home
from tidegate.flows.ledger import Ledger
from tidegate.flows.registry import Registry, RegistryError
from tidegate.gates.audit import statement
from tidegate.gates.digest import digest_bytes
from tidegate.gates.types import Candidate
from tidegate.training.adapter_digest import adapter_digest

BASE = digest_bytes(b"base")
STATEMENT = digest_bytes(b"statement")
Propose = Callable[..., str]


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow takes seconds to make its tables; every test starts from a copy of them."""
    home = Home(tmp_path_factory.mktemp("empty"))
    Registry.open(home)
    return home.mlflow_database


@pytest.fixture
def registry(tmp_path: Path, empty_database: Path) -> Registry:
    home = Home(tmp_path / "home")
    home.root.mkdir()
    shutil.copy(empty_database, home.mlflow_database)
    registry = Registry.open(home)
    blessed = written(registry, "bless", {"decision_id": "bless"})
    registry.bless_base("m", "tiny", BASE, "Apache-2.0", statement=blessed)
    return registry


def written(registry: Registry, act: str, about: dict[str, str]) -> str:
    """A statement in the ledger; its digest."""
    now = datetime(2026, 6, 1, tzinfo=UTC)
    record = statement(act=act, model="m", subjects={"base": BASE}, about=about, decided_at=now)
    return Ledger(registry.home.ledger).append(record)


def decided(registry: Registry, version: str, was: str) -> str:
    """The statement that promotes a version that was compared with `was`."""
    about = {
        "decision_id": f"d-{version}",
        "action": "promote",
        "version": version,
        "parent": was,
    }
    return written(registry, "decide", about)


@pytest.fixture
def propose(registry: Registry, tmp_path: Path) -> Propose:
    """Register a candidate with an adapter of its own; returns its version."""

    def register(update_id: str, verdict: str = "promote", weights: str = "") -> str:
        adapter = adapter_of(tmp_path / (weights or update_id), weights or update_id)
        parent = registry.aliases("m")["champion"]
        run_id = registry.runs.start_update("m", update_id)
        return registry.register(
            "m",
            run_id,
            Candidate(base=BASE, adapter=adapter_digest(adapter), parent=parent),
            adapter,
            update_id=update_id,
            tags={"gov.verdict": verdict},
            description=f"# {verdict}",
        )

    return register


def adapter_of(folder: Path, weights: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_model.safetensors").write_bytes(weights.encode())
    (folder / "adapter_config.json").write_text("{}")
    return folder


def promote(registry: Registry, version: str) -> None:
    was = registry.aliases("m")["champion"]
    registry.promote("m", version, was=was, statement=decided(registry, version, was))


def test_the_base_is_blessed_once(registry: Registry) -> None:
    again = registry.bless_base("m", "tiny", BASE, "Apache-2.0", statement=STATEMENT)
    assert again == "1"
    assert registry.aliases("m") == {"champion": "1", "anchor": "1"}
    assert [v.version for v in registry.versions("m")] == ["1"]
    champion = registry.champion("m")
    assert champion is not None
    assert champion.candidate == Candidate(base=BASE, adapter=None)
    assert (champion.adapter, champion.base.license) == (None, "Apache-2.0")


def test_another_base_is_another_model(registry: Registry) -> None:
    with pytest.raises(RegistryError, match="give it another name"):
        registry.bless_base(
            "m", "other", digest_bytes(b"other"), "Apache-2.0", statement=STATEMENT
        )


def test_a_blessing_that_was_killed_is_finished(tmp_path: Path) -> None:
    class Killed(Registry):
        def _set_alias(self, name: str, alias: str, version: str) -> None:
            raise KeyboardInterrupt

    home = Home(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        Killed.open(home).bless_base("m", "tiny", BASE, "MIT", statement=STATEMENT)
    registry = Registry.open(home)
    assert registry.aliases("m") == {}
    assert registry.bless_base("m", "tiny", BASE, "MIT", statement=STATEMENT) == "1"
    assert registry.aliases("m") == {"champion": "1", "anchor": "1"}


def test_no_base_is_blessed_where_the_anchor_was_deleted(
    registry: Registry, propose: Propose
) -> None:
    propose("u1")
    registry.client.delete_registered_model_alias("m", "anchor")
    with pytest.raises(RegistryError, match="no anchor"):
        registry.bless_base("m", "tiny", BASE, "Apache-2.0", statement=STATEMENT)


def test_every_candidate_is_registered_and_found_again(
    registry: Registry, propose: Propose
) -> None:
    rejected = propose("u1", "reject")
    assert propose("u1", "reject") == rejected == registry.version_of("m", "u1")
    assert [(v.version, v.verdict) for v in registry.versions("m")] == [
        ("1", "blessed"),
        ("2", "reject"),
    ]
    loaded = registry.load("m", rejected)
    assert loaded.adapter is not None
    assert adapter_digest(loaded.adapter) == loaded.candidate.adapter
    assert loaded.tags["gov.parent"] == "1"
    found = registry.client.search_model_versions("name='m' and tags.`gov.verdict`='reject'")
    assert [str(v.version) for v in found] == ["2"]
    page = registry.client.get_model_version("m", rejected).description
    assert page == "# reject"


def test_an_update_stores_one_adapter(registry: Registry, propose: Propose) -> None:
    propose("u1")
    with pytest.raises(RegistryError, match="already stored"):
        propose("u1", weights="other")


def test_files_that_changed_after_training_are_refused(
    registry: Registry, tmp_path: Path
) -> None:
    adapter = adapter_of(tmp_path / "a", "trained")
    candidate = Candidate(base=BASE, adapter=adapter_digest(adapter), parent="1")
    adapter_of(adapter, "changed")
    run_id = registry.runs.start_update("m", "u1")
    with pytest.raises(RegistryError, match="changed after training"):
        registry.register("m", run_id, candidate, adapter, update_id="u1", tags={})
    assert registry.version_of("m", "u1") is None


def test_promotion_keeps_what_served_before(registry: Registry, propose: Propose) -> None:
    version = propose("u1")
    registry.point_candidate("m", version)
    said = decided(registry, version, "1")
    moved = registry.promote("m", version, was="1", statement=said)
    assert (moved.before, moved.after) == ("1", "2")
    assert registry.aliases("m") == {
        "champion": "2",
        "previous": "1",
        "anchor": "1",
        "candidate": "2",
    }
    again = registry.promote("m", version, was="1", statement=said)
    assert again == moved and registry.aliases("m")["previous"] == "1"
    assert registry.load("m", version).tags["gov.statement"] == said


@pytest.mark.parametrize("verdict", ["reject", "hold", "blessed?"])
def test_only_the_verdict_promote_promotes(
    registry: Registry, propose: Propose, verdict: str
) -> None:
    version = propose("u1", verdict)
    with pytest.raises(RegistryError, match="not 'promote'"):
        registry.promote("m", version, was="1", statement=decided(registry, version, "1"))
    assert registry.aliases("m")["champion"] == "1"


def test_no_promotion_without_a_statement(registry: Registry, propose: Propose) -> None:
    version, other = propose("u1"), propose("u2")
    for said in ("", STATEMENT, decided(registry, other, "1")):
        with pytest.raises(RegistryError, match="ledger"):
            registry.promote("m", version, was="1", statement=said)
    assert registry.aliases("m")["champion"] == "1"


def test_a_candidate_compared_with_a_former_champion_is_not_promoted(
    registry: Registry, propose: Propose
) -> None:
    slow, fast = propose("slow"), propose("fast")
    promote(registry, fast)
    with pytest.raises(RegistryError, match="meanwhile"):
        registry.promote("m", slow, was="1", statement=decided(registry, slow, "1"))
    assert registry.aliases("m")["champion"] == fast


@pytest.mark.parametrize("moment", ["previous", "champion"])
def test_an_alias_moved_during_the_promotion_is_noticed(
    registry: Registry, propose: Propose, moment: str
) -> None:
    version, intruder = propose("u1"), propose("u2")

    class Intruded(Registry):
        """A registry in which someone else moves the champion right after our own move."""

        def _set_alias(self, name: str, alias: str, version: str) -> None:
            super()._set_alias(name, alias, version)
            if alias == moment:
                registry._set_alias(name, "champion", intruder)

    said = decided(registry, version, "1")
    with pytest.raises(RegistryError, match="meanwhile"):
        Intruded.open(registry.home).promote("m", version, was="1", statement=said)


def test_a_promotion_that_was_killed_is_finished(registry: Registry, propose: Propose) -> None:
    class Killed(Registry):
        def _set_alias(self, name: str, alias: str, version: str) -> None:
            if alias == "champion":
                raise KeyboardInterrupt
            super()._set_alias(name, alias, version)

    version = propose("u1")
    said = decided(registry, version, "1")
    with pytest.raises(KeyboardInterrupt):
        Killed.open(registry.home).promote("m", version, was="1", statement=said)
    registry.promote("m", version, was="1", statement=said)
    assert registry.aliases("m") == {"champion": "2", "previous": "1", "anchor": "1"}


def said(registry: Registry, was: str, to: str) -> str:
    """A statement of a rollback in the ledger."""
    about = {"decision_id": f"{was} {to}", "was": was, "version": to, "reason": "a test"}
    return written(registry, "rollback", about)


def test_rolling_back_twice_goes_further_back(registry: Registry, propose: Propose) -> None:
    for update in ("u1", "u2"):
        promote(registry, propose(update))
    for was, to, previous in (("3", "2", "1"), ("2", "1", None)):
        digest = said(registry, was, to)
        assert not registry.has_rolled_back("m", to)
        registry.annotate("m", to, {"gov.parent": was})  # tags have no say
        registry.rollback("m", to, statement=digest)
        registry.rollback("m", to, statement=digest)  # as after a crash
        assert registry.has_rolled_back("m", to)
        assert registry.aliases("m")["champion"] == to
        assert registry.aliases("m").get("previous") == previous
        with pytest.raises(RegistryError, match="was rolled back .* needs a new decision"):
            registry.promote("m", was, was=to, statement=STATEMENT)
    assert registry.aliases("m")["anchor"] == "1"


def test_only_a_statement_of_that_very_rollback_moves_the_champion(
    registry: Registry, propose: Propose
) -> None:
    promote(registry, propose("u1"))
    for digest in (STATEMENT, said(registry, "2", "7")):
        with pytest.raises(RegistryError, match="no statement of a rollback"):
            registry.rollback("m", "1", statement=digest)
    assert registry.aliases("m")["champion"] == "2"


def test_a_changed_adapter_is_detected(registry: Registry, propose: Propose) -> None:
    promote(registry, propose("u1"))
    assert registry.champion("m") is not None
    run_id = registry.load("m", "2").run_id
    stored = next(registry.home.mlflow_artifacts.glob(f"{run_id}/**/adapter_model.safetensors"))
    stored.write_bytes(b"poison")
    with pytest.raises(RegistryError, match="files were changed"):
        registry.champion("m")


def test_a_changed_tag_is_detected(registry: Registry, propose: Propose) -> None:
    version = propose("u1")
    registry.annotate("m", version, {"gov.adapter_digest": digest_bytes(b"poison")})
    with pytest.raises(RegistryError, match=r"gov\.adapter_digest does not agree"):
        registry.load("m", version)


def test_a_deleted_artifact_is_detected(registry: Registry, propose: Propose) -> None:
    version = propose("u1")
    run_id = registry.load("m", version).run_id
    next(registry.home.mlflow_artifacts.glob(f"{run_id}/**/candidate.json")).unlink()
    with pytest.raises(RegistryError, match=r"candidate\.json is missing"):
        registry.load("m", version)


def test_a_spoilt_cache_is_made_again(registry: Registry, propose: Propose) -> None:
    version = propose("u1")
    first = registry.load("m", version).adapter
    assert first is not None
    (first / "adapter_model.safetensors").write_bytes(b"poison")
    left = first.with_name(f".{first.name}.{os.getpid()}")  # of one killed in copying
    left.mkdir()
    again = registry.load("m", version)
    assert not left.exists()
    assert again.adapter is not None
    assert adapter_digest(again.adapter) == again.candidate.adapter


def test_a_tag_too_long_for_mlflow_is_refused(registry: Registry, propose: Propose) -> None:
    with pytest.raises(RegistryError, match="too long"):
        registry.annotate("m", "1", {"gov." + "x" * 250: "y"})
    registry.annotate("m", "1", {"gov.note": json.dumps(["y"] * 1000)})
