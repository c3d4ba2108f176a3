"""Documents about a version: golden files, what the formats ask for, and what stops them."""

import gzip
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from huggingface_hub import ModelCard

from tests import past
from tests.documented import BASE, ENVIRONMENT, MODEL, WHEN, World, numbered, waived
from tests.past import digest, model
from tidegate.flows.documents import bom, card
from tidegate.flows.documents.bom import bill_of_materials
from tidegate.flows.documents.card import model_card
from tidegate.flows.documents.change import change_record
from tidegate.flows.documents.markdown import DocumentError
from tidegate.flows.documents.write import write_documents
from tidegate.flows.registry import RegistryError
from tidegate.flows.usage import UsageError
from tidegate.gates.audit import BrokenLedger, placed, statement
from tidegate.gates.digest import canonical

GOLDEN = Path(__file__).parent / "golden" / "documents"
MAKERS = {
    "README.md": model_card,
    "bom.cdx.json": bill_of_materials,
    "change.md": change_record,
}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def rollback(world: World, name: str, was: str, now: str) -> None:
    about = {"decision_id": f"r {name} {was}", "was": was, "version": now, "reason": "a test"}
    world.ledger.append(
        statement(
            act="rollback",
            model=name,
            subjects={"base": BASE.digest},
            about=about,
            decided_at=WHEN,
        )
    )


@pytest.mark.parametrize("name", MAKERS)
def test_the_documents_are_the_golden_ones(world: World, name: str) -> None:
    """To accept a change: write the new text into the file, and read it before committing."""
    waived(world)
    made = numbered(MAKERS[name](world.account()))
    assert made == (GOLDEN / name).read_text(encoding="utf-8")


def test_the_same_statement_makes_the_same_bytes(world: World, tmp_path: Path) -> None:
    world.decided(2, model())
    first = write_documents(world.account(), tmp_path / "first")
    rollback(world, "another", "2", "1")
    world.decided(3, model())
    again = write_documents(world.account(), tmp_path / "again")
    assert first.files == again.files and list(first.files) == list(MAKERS)
    for name in MAKERS:
        first_bytes, again_bytes = ((f.folder / name).read_bytes() for f in (first, again))
        assert first_bytes == again_bytes
    other = write_documents(world.account(3), tmp_path / "other")
    assert not set(other.files.values()) & set(first.files.values())


def test_what_was_done_about_the_version_later_is_in_the_change_record(world: World) -> None:
    world.decided(2, model())
    rollback(world, MODEL, "2", "1")
    rows = [line for line in change_record(world.account()).splitlines() if "rollback" in line]
    assert rows[-1].startswith("| 1 | rollback | from version 2 to version 1 |")


def test_the_card_is_what_the_hub_reads(world: World) -> None:
    world.decided(2, model(refusal=-0.05))
    read: Any = ModelCard(model_card(world.account())).data
    assert (read.base_model, read.base_model_relation) == ("small-model", "adapter")
    assert (read.library_name, read.license) == ("peft", "apache-2.0")
    assert {"peft", "lora", "decision:promote"} <= set(read.tags)
    results = {r.metric_name: r for r in read.eval_results}
    assert set(results) == {"refusal.margin", "knowledge.margin", "update.answer_nll"}
    found = results["refusal.margin"]
    assert (found.dataset_type, found.metric_type) == ("refusal", "margin")
    assert found.metric_value == pytest.approx(0.95, abs=1e-3)
    assert found.dataset_args == {"items": 60}


@pytest.mark.parametrize(
    ("license", "front"),
    [
        ("Apache-2.0", {"license": "apache-2.0"}),
        ("llama3.1", {"license": "llama3.1"}),
        ("Our own, v2", {"license": "other", "license_name": "our-own-v2"}),
        ("unknown", {}),
        ("", {}),
    ],
)
def test_the_license_is_the_bases_as_the_hub_names_it(
    world: World, license: str, front: dict[str, str]
) -> None:
    world.decided(2, model())
    account = world.account(base=BASE.model_copy(update={"license": license}))
    said = yaml.safe_load(model_card(account).split("---\n")[1])
    assert {key: said[key] for key in said if key.startswith("license")} == front
    licenses = component(json.loads(bill_of_materials(account)), "base").get("licenses", [])
    assert len(licenses) == bool(front)


def component(made: dict[str, Any], ref: str) -> dict[str, Any]:
    return next(c for c in made["components"] if c["bom-ref"] == ref)


def test_the_bill_of_materials_names_what_the_adapter_is_made_of(world: World) -> None:
    world.decided(2, model(refusal=-0.05))
    text = bill_of_materials(world.account())
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    made = json.loads(text)
    assert (made["bomFormat"], made["specVersion"]) == ("CycloneDX", "1.6")
    subject = made["metadata"]["component"]
    assert (subject["type"], subject["version"]) == ("machine-learning-model", "2")
    ancestors = {a["name"]: a["version"] for a in subject["pedigree"]["ancestors"]}
    assert ancestors == {"small-model": BASE.digest, MODEL: "1"}
    files = {file["name"]: file["hashes"][0] for file in subject["components"]}
    assert files["adapter_model.safetensors"] == {
        "alg": "SHA-256",
        "content": digest("weights").removeprefix("sha256:"),
    }
    batch = component(made, "batch")
    assert (batch["type"], batch["version"]) == ("data", digest("batch"))
    assert batch["data"][0]["type"] == "dataset"
    assert subject["modelCard"]["modelParameters"]["datasets"] == [{"ref": "batch"}]
    purls = {c["purl"] for c in made["components"] if "purl" in c}
    assert purls == {
        "pkg:pypi/numpy@2.3.0",
        "pkg:pypi/torch@2.13.0%2Bcpu",
        "pkg:pypi/typing-extensions@4.15.0",
    }
    depends = {d["ref"]: set(d.get("dependsOn", ())) for d in made["dependencies"]}
    assert depends["model"] == {"base", "batch", "environment"}
    assert depends["environment"] == purls
    metrics = subject["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    change = next(m for m in metrics if m["type"] == "refusal.margin, change from the anchor")
    bounds = change["confidenceInterval"]
    assert float(bounds["lowerBound"]) < float(change["value"]) < float(bounds["upperBound"])
    refs = re.findall(r'"bom-ref": "([^"]*)"', text)
    assert len(refs) == len(set(refs))


def test_an_environment_that_was_not_kept_is_unknown_and_not_empty(world: World) -> None:
    world.decided(2, model())
    (world.evidence(2) / "environment.json.gz").unlink()
    made = json.loads(bill_of_materials(world.account()))
    assert made["compositions"] == [{"aggregate": "unknown", "dependencies": ["environment"]}]
    said = {p["name"]: p["value"] for p in component(made, "environment")["properties"]}
    assert said == {"tidegate:digest": ENVIRONMENT.digest}


def test_what_the_schema_refuses_is_not_written(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.decided(2, model())
    monkeypatch.setattr(bom, "_data", lambda _: {"type": "no such type"})
    with pytest.raises(DocumentError, match="schema refuses"):
        write_documents(world.account(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_the_hub_would_read_otherwise_is_not_written(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.decided(2, model())
    # A card without anything below its front matter, where there was something to say.
    monkeypatch.setattr(card, "ModelCard", lambda text, **_: ModelCard(text.split("\n# ")[0]))
    with pytest.raises(DocumentError, match="otherwise"):
        model_card(world.account())


def test_the_change_record_supports_and_claims_nothing(world: World) -> None:
    waived(world)
    text = change_record(world.account())
    assert "This record supports the part of the technical documentation" in text
    assert "Annex IV, point 2(f)" in text
    assert "is no conformity assessment" in text
    for made in (make(world.account()) for make in MAKERS.values()):
        assert not re.search(
            r"\b(compl(y|ies|iant|iance)|conforms|certif\w+)\b", made, re.IGNORECASE
        )
    for said in ("rita", "dora", "ada, bob", "OPS", "withdrawn product", "at most 32"):
        assert said in text


def test_a_policy_without_an_envelope_determined_nothing_beforehand(tmp_path: Path) -> None:
    world = World(tmp_path, past.POLICY)
    world.decided(2, model())
    assert "The policy has no envelope" in change_record(world.account())


def test_an_update_without_weights_has_a_change_record_alone(
    world: World, tmp_path: Path
) -> None:
    world.decided(2)
    written = write_documents(world.account(), tmp_path / "out")
    assert list(written.files) == ["change.md"]
    assert written.left_out == ("README.md", "bom.cdx.json")
    text = (tmp_path / "out" / "change.md").read_text(encoding="utf-8")
    assert "ended before there were new weights" in text
    assert "Nothing was measured" in text
    assert "ended before it was held against the envelope" in text


def test_nobody_is_named_where_the_weights_go_and_no_source_or_item_anywhere(
    world: World,
) -> None:
    waived(world)
    account = world.account()
    named = account.past.batch.model_copy(update={"sources": {"erika@example.org": 48}})
    account = replace(account, past=replace(account.past, batch=named))
    for name, make in MAKERS.items():
        made = make(account)
        assert "erika" not in made and "item-" not in made
        people = [
            who for who in ("rita", "dora", "ada", "bob") if re.search(rf"\b{who}\b", made)
        ]
        assert bool(people) == (name == "change.md")


def gone(path: Path) -> None:
    path.unlink()


def changed(path: Path) -> None:
    content = json.loads(gzip.decompress(path.read_bytes()))
    path.write_bytes(gzip.compress(json.dumps({**content, "why": "another"}).encode()))


def damaged(path: Path) -> None:
    path.write_bytes(b"no gzip")


FILES = ("policy", "recipe", "evidence_data", "evidence_model", "environment")


@pytest.mark.parametrize(
    ("name", "how"),
    [
        (name, how)
        for name in FILES
        for how in (gone, changed, damaged)
        if (name, how) != ("environment", gone)
    ],
)
def test_evidence_that_is_not_what_was_recorded_documents_nothing(
    world: World, name: str, how: Callable[[Path], None]
) -> None:
    world.decided(2, model())
    how(world.evidence(2) / f"{name}.json.gz")
    with pytest.raises(BrokenLedger, match=name):
        world.account()


def test_a_ledger_that_does_not_verify_documents_nothing(world: World) -> None:
    world.decided(2, model())
    lines = world.home.ledger.read_bytes()
    at = lines.index(b'"sig"') + 10
    world.home.ledger.write_bytes(lines[:at] + bytes([lines[at] ^ 1]) + lines[at + 1 :])
    with pytest.raises(BrokenLedger):
        world.account()


def test_a_statement_that_nobody_signed_documents_nothing(world: World) -> None:
    world.decided(2, model())
    record = world.ledger.entries()[0].record
    unsigned = placed(record, 0, record["predicate"]["previous"])
    world.home.ledger.write_bytes(canonical(unsigned) + b"\n")
    world.ledger.head_path.unlink()
    for key in world.home.keys.iterdir():
        key.unlink()
    with pytest.raises(UsageError, match="before statements were signed"):
        world.account()


def test_a_version_that_no_update_made_has_no_documents(world: World) -> None:
    world.ledger.append(
        statement(
            act="bless",
            model=MODEL,
            subjects={"base": BASE.digest},
            about={"decision_id": "b", "action": "promote", "version": "1", "reason": "a test"},
            decided_at=WHEN,
        )
    )
    for number, name in ((1, MODEL), (9, MODEL), (1, "another")):
        with pytest.raises(UsageError, match="no decision about version"):
            world.account(number, name)


def test_a_base_of_another_digest_is_refused(world: World) -> None:
    world.decided(2, model())
    other = BASE.model_copy(update={"digest": digest("another base")})
    with pytest.raises(RegistryError, match="do not serve it"):
        world.account(base=other)


def test_a_statement_without_a_parent_is_no_record_of_an_update(world: World) -> None:
    past.World(world.home.root.parent).decided(5, past.data(), model())
    with pytest.raises(BrokenLedger, match="does not say"):
        world.account(5, past.MODEL)
