"""Keys and envelopes, and that stock securesystemslib alone can read what we sign."""

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey
from typer.testing import CliRunner

from tidegate.flows.commands.key import key as commands
from tidegate.flows.signing.envelope import (
    IN_TOTO,
    EnvelopeError,
    add_signature,
    seal,
    unverified_payload,
    verify,
)
from tidegate.flows.signing.keys import (
    KeyFileError,
    PublicKey,
    load_signer,
    new_key,
    public_of,
    reviewer_line,
)
from tidegate.gates.policy.reviewers import load_reviewers

TYPE = "application/vnd.example+json"
PAYLOAD = b'{"a":1}'


def no_passphrase() -> str:
    raise AssertionError("nobody may be asked for a passphrase here")


def signer_in(folder: Path, name: str) -> CryptoSigner:
    new_key(folder / f"{name}.pem")
    return load_signer(folder / f"{name}.pem", no_passphrase)


@pytest.fixture
def ada(tmp_path: Path) -> CryptoSigner:
    return signer_in(tmp_path, "ada")


@pytest.fixture
def bob(tmp_path: Path) -> CryptoSigner:
    return signer_in(tmp_path, "bob")


def test_a_key_file_is_private_and_gives_its_public_half_back(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "ada.pem"
    public = new_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert public_of(load_signer(path, no_passphrase)) == public


def test_the_keyid_is_the_sha256_of_the_raw_public_key(tmp_path: Path) -> None:
    public = new_key(tmp_path / "ada.pem")
    raw = base64.b64decode(public.key)
    assert len(raw) == 32
    assert public.keyid == hashlib.sha256(raw).hexdigest() == PublicKey.parse(public.key).keyid


def test_the_keyid_of_a_known_key_never_changes() -> None:
    # The first key of RFC 8032, section 7.1.
    raw = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
    assert PublicKey.parse(base64.b64encode(raw).decode()).keyid == (
        "21fe31dfa154a261626bf854046fd2271b7bed4b6abe45aa58877ef47f9721b9"
    )


def test_a_passphrase_is_needed_where_one_was_given(tmp_path: Path) -> None:
    path = tmp_path / "ada.pem"
    public = new_key(path, "open sesame")
    assert b"ENCRYPTED" in path.read_bytes()
    assert public_of(load_signer(path, lambda: "open sesame")) == public
    with pytest.raises(KeyFileError, match="passphrase does not open"):
        load_signer(path, lambda: "wrong")


def test_a_key_is_never_written_over(tmp_path: Path) -> None:
    public = new_key(tmp_path / "ada.pem")
    with pytest.raises(KeyFileError, match="never written over"):
        new_key(tmp_path / "ada.pem")
    assert public_of(load_signer(tmp_path / "ada.pem", no_passphrase)) == public


@pytest.mark.parametrize("git", ["folder", "file"])
def test_no_private_key_in_a_git_work_tree(tmp_path: Path, git: str) -> None:
    marker = tmp_path / "repo" / ".git"
    marker.parent.mkdir()
    marker.mkdir() if git == "folder" else marker.write_text("gitdir: elsewhere")
    with pytest.raises(KeyFileError, match=r"git work tree .*write it elsewhere"):
        new_key(tmp_path / "repo" / "deep" / "er" / "ada.pem")
    (tmp_path / "link").symlink_to(marker.parent)
    with pytest.raises(KeyFileError, match="git work tree"):
        new_key(tmp_path / "link" / "ada.pem")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601])
def test_a_key_that_others_can_touch_is_refused(tmp_path: Path, mode: int) -> None:
    new_key(tmp_path / "ada.pem")
    (tmp_path / "ada.pem").chmod(mode)
    with pytest.raises(KeyFileError, match="others may read"):
        load_signer(tmp_path / "ada.pem", no_passphrase)


def elliptic() -> bytes:
    return generate_private_key(SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        elliptic(),
    ],
    ids=["empty", "text", "damaged", "another kind of key"],
)
def test_what_is_no_ed25519_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ada.pem"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="no Ed25519 private key"):
        load_signer(path, no_passphrase)


@pytest.mark.parametrize(
    "text", ["", "AAAA", "!" * 44, "A" * 43, base64.b64encode(b"x" * 33).decode()]
)
def test_what_is_no_public_key_is_refused(text: str) -> None:
    with pytest.raises(KeyFileError, match="no Ed25519 public key"):
        PublicKey.parse(text)


@pytest.mark.parametrize("name", ["ada", "no: yes", '"}, {', "Zoë"])
def test_the_printed_line_makes_a_reviewer(tmp_path: Path, name: str) -> None:
    public = new_key(tmp_path / "k.pem")
    file = tmp_path / "reviewers.yaml"
    line = reviewer_line(name, public, ["model-reviewer", "safety"])
    file.write_text(f"reviewers:\n{line}\n", encoding="utf-8")
    (reviewer,) = load_reviewers(file)
    assert (reviewer.name, reviewer.key) == (name, public.key)
    assert reviewer.roles == ("model-reviewer", "safety")
    assert len(yaml.safe_load(file.read_text(encoding="utf-8"))["reviewers"]) == 1


def test_the_commands_make_a_key_and_show_its_public_half(tmp_path: Path) -> None:
    path, env = str(tmp_path / "ada.pem"), {"TIDEGATE_KEY_PASSPHRASE": "open sesame"}
    made = CliRunner().invoke(commands, ["new", "ada", "--out", path, "--encrypt"], env=env)
    assert made.exit_code == 0, made.output
    (line,) = [line for line in made.stdout.splitlines() if line.startswith("  - {")]
    (tmp_path / "reviewers.yaml").write_text(f"reviewers:\n{line}\n")
    (reviewer,) = load_reviewers(tmp_path / "reviewers.yaml")
    shown = CliRunner().invoke(commands, ["show", path, "--json"], env=env)
    assert json.loads(shown.stdout)["key"] == reviewer.key
    assert reviewer.roles == ("model-reviewer",)
    wrong = CliRunner().invoke(commands, ["show", path], env={"TIDEGATE_KEY_PASSPHRASE": "no"})
    assert isinstance(wrong.exception, KeyFileError)


def test_stock_securesystemslib_verifies_what_we_sign(
    ada: CryptoSigner, bob: CryptoSigner
) -> None:
    """Nothing of tidegate below the first line: a stranger needs the two public keys only."""
    data = seal(PAYLOAD, IN_TOTO, ada, bob)
    raw = [bytes.fromhex(s.public_key.keyval["public"]) for s in (ada, bob)]
    keys = [
        SSlibKey(hashlib.sha256(r).hexdigest(), "ed25519", "ed25519", {"public": r.hex()})
        for r in raw
    ]
    envelope = Envelope.from_dict(json.loads(data))
    assert len(envelope.verify(keys, 2)) == 2
    assert (envelope.payload, envelope.payload_type) == (PAYLOAD, IN_TOTO)
    envelope.payload += b" "
    with pytest.raises(VerificationError):
        envelope.verify(keys, 1)


def test_every_signature_is_reported_and_strangers_by_name(
    ada: CryptoSigner, bob: CryptoSigner
) -> None:
    data = seal(PAYLOAD, TYPE, ada, bob)
    one, two = public_of(ada), public_of(bob)
    payload, both = verify(data, TYPE, [one, two])
    assert payload == PAYLOAD
    assert (set(both.good), both.unknown) == ({one.keyid, two.keyid}, ())
    _, first = verify(data, TYPE, [one])
    assert (first.good, first.unknown) == ((one.keyid,), (two.keyid,))
    _, none = verify(seal(PAYLOAD, TYPE), TYPE, [one])
    assert (none.good, none.unknown) == ((), ())


def test_a_signature_can_be_added_later_by_someone_else(
    ada: CryptoSigner, bob: CryptoSigner
) -> None:
    together = seal(PAYLOAD, TYPE, ada, bob)
    assert add_signature(seal(PAYLOAD, TYPE, bob), TYPE, ada) == together
    assert add_signature(together, TYPE, ada) == together


def test_flipping_any_bit_of_the_file_is_found(ada: CryptoSigner) -> None:
    data, key = seal(PAYLOAD, TYPE, ada), public_of(ada)
    for at in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[at] ^= 1 << bit
            try:
                _, found = verify(bytes(changed), TYPE, [key])
            except EnvelopeError:
                continue
            assert not found.good, f"bit {bit} of byte {at} changed and nobody saw"


Change = Callable[[dict[str, object]], object]


def _first(content: dict[str, object]) -> dict[str, str]:
    signatures = content["signatures"]
    assert isinstance(signatures, list)
    return dict(signatures[0])


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.update(note="unsigned words beside signed ones"),
        lambda c: c.update(signatures=[{**_first(c), "note": "x"}]),
        lambda c: c.update(signatures=[_first(c), _first(c)]),
        lambda c: c.update(signatures=None),
        lambda c: c.update(payload=1),
        lambda c: c.pop("payload"),
        lambda c: c.pop("payloadType"),
    ],
    ids=["a field", "a field of a signature", "twice", "no list", "number", "none", "no type"],
)
def test_an_envelope_of_another_shape_is_damaged(ada: CryptoSigner, change: Change) -> None:
    content = json.loads(seal(PAYLOAD, TYPE, ada))
    change(content)
    with pytest.raises(EnvelopeError, match="damaged"):
        verify(json.dumps(content, sort_keys=True).encode(), TYPE, [public_of(ada)])


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_envelope_is_damaged(data: bytes) -> None:
    with pytest.raises(EnvelopeError, match="damaged"):
        verify(data, TYPE, [])


def test_the_same_envelope_in_another_spelling_is_refused(ada: CryptoSigner) -> None:
    data = seal(PAYLOAD, TYPE, ada)
    for spelled in (json.dumps(json.loads(data), indent=1).encode(), data + b"\n"):
        with pytest.raises(EnvelopeError, match="not written the one way"):
            verify(spelled, TYPE, [public_of(ada)])


def test_a_signature_counts_for_its_own_payload_type_only(ada: CryptoSigner) -> None:
    data = seal(PAYLOAD, TYPE, ada)
    with pytest.raises(EnvelopeError, match="wanted is"):
        verify(data, IN_TOTO, [public_of(ada)])
    relabelled = json.loads(data)
    relabelled["payloadType"] = IN_TOTO
    # Sorted and tight, as ours: only the signature can tell.
    text = json.dumps(relabelled, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    assert unverified_payload(text, IN_TOTO) == PAYLOAD
    with pytest.raises(EnvelopeError, match="does not fit"):
        verify(text, IN_TOTO, [public_of(ada)])
