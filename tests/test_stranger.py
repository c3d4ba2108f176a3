"""What a stranger verifies with other people's tools, from exported files and public keys."""

import base64
import hashlib
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from google.protobuf.json_format import ParseDict
from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance
from in_toto_attestation.predicates.test_result.v0 import test_result_pb2
from in_toto_attestation.v1.statement import Statement as InToto
from in_toto_attestation.v1.statement_pb2 import Statement as Message
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey
from typer.testing import CliRunner

from tests.waiver_world import World
from tidegate.flows.attesting import bundle, export_keys
from tidegate.flows.cli import app
from tidegate.flows.home import Home
from tidegate.flows.registry import Registry
from tidegate.gates.attestations import PROVENANCE, TEST_RESULT, VERIFICATION
from tidegate.gates.audit import PREDICATE_TYPE
from tidegate.gates.types import Action


@dataclass
class Handed:
    """What the stranger was given."""

    lines: list[bytes]
    keys: Path
    adapter: Path
    signature: Path

    @property
    def statements(self) -> dict[str, Any]:
        said = [json.loads(base64.b64decode(json.loads(e)["payload"])) for e in self.lines]
        return {statement["predicateType"]: statement for statement in said}


@pytest.fixture(scope="module")
def handed(tmp_path_factory: pytest.TempPathFactory) -> Handed:
    folder = tmp_path_factory.mktemp("stranger")
    first = Home(folder / "first")
    first.root.mkdir()
    Registry.open(first).ensure_model("warm")
    world = World(folder / "world", first.mlflow_database)
    result = world.update("u-1")
    assert result.decision.action is Action.PROMOTE
    out = folder / "v2.intoto.jsonl"
    given = ["statement", "export", "2", "--model", "m", "--out", str(out)]
    done = CliRunner().invoke(app, [*given, "--home", str(world.home.root)])
    assert done.exit_code == 0, done.output
    assert out.read_bytes() == bundle(world.ledger, result.statement)  # the same each time
    export_keys(world.ledger, folder / "keys")
    fetched = Path(world.registry.client.download_artifacts(result.run_id, "model"))
    return Handed(
        out.read_bytes().splitlines(),
        folder / "keys",
        fetched / "adapter",
        fetched / "adapter.sig",
    )


def pipeline_pem(handed: Handed) -> bytes:
    return next(handed.keys.glob("pipeline-*.pem")).read_bytes()


def test_securesystemslib_verifies_each_envelope(handed: Handed) -> None:
    raw = base64.b64decode((handed.keys / "pipeline.pub").read_text())
    for line in handed.lines:
        said = json.loads(line)
        key = SSlibKey(
            said["signatures"][0]["keyid"], "ed25519", "ed25519", {"public": raw.hex()}
        )
        envelope = Envelope.from_dict(json.loads(line))
        assert set(envelope.verify([key], 1)) == {key.keyid}
        payload = said["payload"].replace("A", "B", 1)
        changed = Envelope.from_dict({**json.loads(line), "payload": payload})
        with pytest.raises(VerificationError):
            changed.verify([key], 1)


def test_plain_cryptography_verifies_each_envelope(handed: Handed) -> None:
    """DSSE v1: the signature is over PAE(type, body), and nothing of ours is needed."""
    public: Any = load_pem_public_key(pipeline_pem(handed))
    for line in handed.lines:
        said = json.loads(line)
        kind, body = said["payloadType"].encode(), base64.b64decode(said["payload"])
        pae = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(body), body)
        (signature,) = said["signatures"]
        public.verify(base64.b64decode(signature["sig"]), pae)
        with pytest.raises(InvalidSignature):
            public.verify(base64.b64decode(signature["sig"]), pae + b" ")


def test_in_toto_reads_each_statement_and_predicate(handed: Handed) -> None:
    for statement in handed.statements.values():
        message: Any = Message()
        ParseDict(statement, message)
        InToto.copy_from_pb(message).validate()
    assert set(handed.statements) == {PREDICATE_TYPE, PROVENANCE, TEST_RESULT, VERIFICATION}
    # Unknown fields raise: what is there is what their schemas say.
    ParseDict(handed.statements[PROVENANCE]["predicate"], Provenance())
    ParseDict(handed.statements[TEST_RESULT]["predicate"], test_result_pb2.TestResult())
    verified = handed.statements[VERIFICATION]["predicate"]
    assert set(verified) == {"verifier", "timeCreated", "properties"}
    assert verified["properties"][0] == "TIDEGATE_PROMOTE"


def test_the_decision_names_everything_and_who_asked(handed: Handed) -> None:
    decision = handed.statements[PREDICATE_TYPE]
    names = {subject["name"] for subject in decision["subject"]}
    assert names >= {"adapter", "base", "batch", "recipe", "policy", "code", "environment"}
    assert names >= {"evidence/data", "evidence/model", "adapter/adapter_model.safetensors"}
    assert decision["predicate"]["about"]["requester"] == "rita"
    assert decision["predicate"]["decidedAt"].endswith("Z")


def test_sha256sum_of_the_files_is_in_the_statement(handed: Handed) -> None:
    said = {s["name"]: s["digest"] for s in handed.statements[PROVENANCE]["subject"]}
    for path in handed.adapter.iterdir():
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        assert said[f"adapter/{path.name}"] == {"sha256": found}


def stock_verify(handed: Handed, adapter: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "model_signing", "verify", "key", str(adapter)]
    command += ["--signature", str(handed.signature)]
    command += ["--public_key", str(handed.keys / "adapter.pub")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_stock_model_signing_command_verifies_the_adapter(
    handed: Handed, tmp_path: Path
) -> None:
    done = stock_verify(handed, handed.adapter)
    assert done.returncode == 0, done.stderr
    copy = tmp_path / "adapter"
    copy.mkdir()
    for path in handed.adapter.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    assert stock_verify(handed, copy).returncode == 0
    (copy / "adapter_model.safetensors").write_bytes(b"poison")
    assert stock_verify(handed, copy).returncode != 0


def test_the_signed_decision_names_the_key_of_the_adapter(handed: Handed) -> None:
    named = handed.statements[PREDICATE_TYPE]["predicate"]["about"]["adapter_key"]
    public = (handed.keys / "adapter.pub").read_bytes()
    assert named == hashlib.sha256(public).hexdigest()
    material = json.loads(handed.signature.read_text())["verificationMaterial"]
    assert material["publicKey"]["hint"] == named
