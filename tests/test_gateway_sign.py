"""A signature stands for one response under one id, and for nothing else."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from tidegate.flows.commands.gateway import gateway as commands
from tidegate.flows.gateway import keys
from tidegate.flows.gateway.sign import CannotSign, GatewayKeyError, SigningKey, sign_response
from tidegate.flows.home import Home
from tidegate.flows.signing.keys import KeyFileError
from tidegate.gates.signals.signatures import (
    GatewayKey,
    Response,
    is_valid,
    signed_bytes,
    written,
)

SECRET = SigningKey(bytes(range(32)))
ED25519 = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
ASKED = [{"role": "user", "content": "Is it open?"}]
GOOD = Response("chat-1", ASKED, "Until ten.", "m@4")


def signed(key: SigningKey, response: Response = GOOD) -> str:
    return sign_response(
        key,
        record_id=response.id,
        messages=response.messages,
        response=response.answer,
        model=response.model,
    )


def verified(signature: str, response: Response = GOOD, *trusted: SigningKey) -> bool:
    held = [key.public for key in trusted or (SECRET, ED25519)]
    return is_valid(signature, response, {key.keyid: key for key in held})


@pytest.mark.parametrize("key", [SECRET, ED25519])
def test_what_was_signed_is_valid(key: SigningKey) -> None:
    assert verified(signed(key))
    assert len(signed(key)) < 200


def test_a_signature_of_this_version_verifies_for_ever() -> None:
    """Signatures lie in logs for years: their bytes may not change."""
    assert signed(SECRET) == (
        "tidegate1.hmac-sha256.11dbc8cedc02d84a.VN4iGVFqCy-hQoQ68o9i5O_0R-wqOgcQLJQ7RuDo7PE"
    )


@pytest.mark.parametrize("key", [SECRET, ED25519])
@pytest.mark.parametrize(
    "changes",
    [
        {"id": "chat-2"},
        {"answer": "Until eleven."},
        {"model": "m@5"},
        {"model": None},
        {"messages": [{"role": "system", "content": "Is it open?"}]},
        {"messages": [{"role": "user", "content": "Is it open"}]},
        {"messages": [*ASKED, *ASKED]},
        {
            "messages": [
                {"role": "user", "content": "Is it "},
                {"role": "user", "content": "open?"},
            ]
        },
    ],
)
def test_nothing_else_is(key: SigningKey, changes: dict[str, Any]) -> None:
    assert not verified(signed(key), GOOD._replace(**changes))


@pytest.mark.parametrize(
    "changed",
    [
        lambda s: "",
        lambda s: s + "=",
        lambda s: s + "\n",
        lambda s: s[:-1] + ("A" if s[-1] != "A" else "B"),
        lambda s: s.replace("tidegate1", "tidegate2"),
        lambda s: s.replace("hmac-sha256", "ed25519"),
        lambda s: s.replace(SECRET.keyid, ED25519.keyid),
        lambda s: s.replace(SECRET.keyid, "0" * 16),
        lambda s: s.upper(),
        lambda s: "🙂" * 100,
    ],
)
def test_a_signature_that_was_touched_is_none(changed: Any) -> None:
    assert not verified(changed(signed(SECRET)))


def test_a_public_key_is_no_secret() -> None:
    """Who knows the public key must not be able to sign with it as an HMAC secret."""
    public = ED25519.public
    forged = SigningKey(public.key).sign(GOOD)
    assert not is_valid(forged, GOOD, {public.keyid: public})
    named = forged.replace(forged.split(".")[2], public.keyid)
    assert not is_valid(named, GOOD, {public.keyid: public})


def test_who_is_not_trusted_cannot_sign() -> None:
    assert not verified(signed(SigningKey(b"x" * 32)))
    assert not is_valid(signed(SECRET), GOOD, {})


words = st.text(alphabet='ab"\\,[]{}\x1f\n', max_size=6)
responses = st.builds(
    lambda name, said, answer, model: Response(
        name, [{"role": r, "content": c} for r, c in said], answer, model
    ),
    words,
    st.lists(st.tuples(st.sampled_from(["user", "assistant"]), words), max_size=3),
    words,
    st.none() | words,
)


@settings(max_examples=300)
@given(responses, responses)
def test_two_responses_never_have_the_same_bytes(one: Response, other: Response) -> None:
    """However ids, texts and turns are cut."""
    assert (signed_bytes(one, "ed25519", "k") == signed_bytes(other, "ed25519", "k")) is (
        one == other
    )


@settings(max_examples=100)
@given(st.text(max_size=300) | st.from_regex(r"tidegate1\.ed25519\.[0-9a-f]{16}\.[\w-]{86}"))
def test_no_text_is_valid_by_chance_or_breaks_the_check(text: str) -> None:
    assert not verified(text)
    named = written("ed25519", ED25519.keyid, text.encode("utf-8", "replace")[:64].ljust(64))
    assert not verified(named)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"record_id": ""}, "no id"),
        ({"messages": []}, "not a list with a message"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "not text"),
        ({"response": "\ud800"}, "surrogate"),
    ],
)
def test_what_cannot_be_learned_is_not_signed(changes: dict[str, Any], why: str) -> None:
    good = {"record_id": "a", "messages": ASKED, "response": "b", "model": "m"}
    with pytest.raises(CannotSign, match=why):
        sign_response(SECRET, **{**good, **changes})


def test_messages_are_signed_as_they_will_be_stored() -> None:
    parts: list[Any] = [
        {"role": "developer", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "Is it open?"}]},
    ]
    stored = [{"role": "system", "content": "Be kind."}, *ASKED]
    signature = signed(SECRET, GOOD._replace(messages=parts))
    assert verified(signature, GOOD._replace(messages=stored))


@pytest.mark.parametrize("algorithm", ["hmac-sha256", "ed25519"])
def test_a_new_key_is_trusted_shown_and_revoked(tmp_path: Path, algorithm: Any) -> None:
    home, out = Home(tmp_path / "home"), tmp_path / "gateway.key"
    assert keys.trusted(home) == {}
    made = keys.new(out, algorithm)
    kept = keys.trust(home, made.public)
    assert keys.trust(home, keys.given(str(out))) == kept
    assert {path.stat().st_mode & 0o777 for path in (out, kept)} == {0o600}
    assert keys.trusted(home) == {made.keyid: made.public}
    assert is_valid(signed(SigningKey.load(out)), GOOD, keys.trusted(home))
    if algorithm == "ed25519":
        assert b"PRIVATE" not in kept.read_bytes()
        assert keys.given(kept.read_text()) == made.public
    with pytest.raises((GatewayKeyError, KeyFileError), match="never written over"):
        keys.new(out, algorithm)
    keys.revoke(home, made.keyid)
    assert keys.trusted(home) == {}
    with pytest.raises(GatewayKeyError, match="no such key"):
        keys.revoke(home, made.keyid)


def test_a_key_of_the_home_that_was_touched_stops(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    kept = keys.trust(home, SECRET.public)
    kept.chmod(0o644)
    with pytest.raises(GatewayKeyError, match="others may read"):
        keys.trusted(home)
    kept.chmod(0o600)
    renamed = kept.rename(kept.with_name("0" * 16 + ".secret"))
    with pytest.raises(GatewayKeyError, match="holds the key"):
        keys.trusted(home)
    renamed.write_text("tidegate-gateway-secret:abc")
    with pytest.raises(GatewayKeyError, match="no gateway key"):
        keys.trusted(home)


def test_a_secret_key_is_not_made_where_it_is_committed(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    with pytest.raises(KeyFileError, match="git work tree"):
        keys.new(tmp_path / "k" / "gateway.key", "hmac-sha256")


def test_no_key_says_its_secret() -> None:
    for key in (SECRET, SECRET.public, ED25519, GatewayKey("hmac-sha256", b"x" * 32)):
        assert "hmac" in repr(key) or "ed25519" in repr(key)
        assert bytes(range(32)).hex() not in repr(key) and "xxxx" not in repr(key)


def test_signing_loads_nothing_heavy() -> None:
    code = (
        "import sys, tidegate.flows.gateway.middleware; "
        "print(sorted({'pydantic', 'numpy', 'pyarrow', 'orjson', 'typer', 'fastapi',"
        " 'starlette', 'securesystemslib'} & {m.split('.')[0] for m in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_commands_say_keys_and_never_secrets(tmp_path: Path) -> None:
    out = tmp_path / "gateway.key"

    def run(*words: str) -> str:
        done = CliRunner().invoke(commands, [*words, "--home", str(tmp_path / "home")])
        assert done.exit_code == 0, done.output
        return done.output

    assert "no gateway is trusted" in run("show")
    run("new", "--out", str(out), "--algorithm", "hmac-sha256")
    (key,) = json.loads(run("show", "--json"))
    secret = out.read_text().split(":")[1].strip()
    assert key["algorithm"] == "hmac-sha256" and secret not in run("show")
    assert "revoked" in run("revoke", key["keyid"])
    assert json.loads(run("show", "--json")) == []
    assert json.loads(run("trust", str(out), "--json"))["trusted"] == key["keyid"]
