"""Verifying a ledger with public keys alone: every byte, and every structural attack."""

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.test_ledger import said
from tidegate.flows.attesting import Proof, check_growth, check_proof, prove, prove_growth
from tidegate.flows.chain import read_chain
from tidegate.flows.cli import app
from tidegate.flows.ledger import Ledger
from tidegate.flows.signing import envelope
from tidegate.flows.signing.envelope import IN_TOTO
from tidegate.flows.signing.head import sign_head, vkey
from tidegate.flows.signing.keys import PublicKey, load_signer, new_key
from tidegate.flows.usage import UsageError
from tidegate.flows.verifying import Verified, verify
from tidegate.gates import merkle
from tidegate.gates.audit import BrokenLedger, placed
from tidegate.gates.digest import canonical

FIXTURES = Path(__file__).parent / "ledgers"
Lines = list[bytes]


class Copy:
    """A ledger that left its home, with the home's public key and an early head."""

    def __init__(self, folder: Path) -> None:
        home = Ledger(folder / "home" / "ledger.jsonl")
        for name in ("one", "two"):
            home.append(said(name))
        self.kept = folder / "kept.head"
        self.home = home
        self.early = home.head_path.read_bytes()
        home.append(said("three"))
        self.kept.write_bytes(home.head_path.read_bytes())
        self.keys = home.keys.trusted()
        self.path = folder / "copy.jsonl"
        self.head = folder / "copy.head"
        self.content, self.signed = home.path.read_bytes(), home.head_path.read_bytes()
        self.put(self.lines)

    @property
    def lines(self) -> Lines:
        return self.content.splitlines(keepends=True)

    def put(self, lines: Lines, head: bytes | None = None) -> None:
        self.path.write_bytes(b"".join(lines))
        self.head.write_bytes(self.signed if head is None else head)

    def verified(self, *kept: Path) -> Verified:
        return verify(self.path, self.keys, kept)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    return Copy(tmp_path_factory.mktemp("copy"))


@pytest.fixture
def copy(made: Copy) -> Copy:
    made.put(made.lines)
    return made


def test_what_was_written_verifies_without_the_home(copy: Copy) -> None:
    seen = copy.verified(copy.kept)
    assert not seen.findings
    assert (seen.lines, seen.head, seen.unsigned, seen.kept) == (3, 3, 0, 1)
    assert seen.signed_by == tuple(key.keyid for key in copy.keys)


@pytest.mark.parametrize("bit", [0x01, 0x20])
def test_every_byte_of_ledger_and_head_counts(copy: Copy, bit: int) -> None:
    for name in ("content", "signed"):
        original = getattr(copy, name)
        for at in range(len(original)):
            changed = bytearray(original)
            changed[at] ^= bit
            pair = {"content": copy.content, "signed": copy.signed, name: bytes(changed)}
            chain = read_chain(pair["content"], pair["signed"], copy.keys)
            assert chain.findings, f"byte {at} of the {name}"


def _resigned(lines: Lines, folder: Path) -> Lines:
    """The second line edited, and signed by a key of the attacker's own."""
    key = folder / "attacker.pem"
    if not key.exists():
        new_key(key)
    payload = envelope.unverified_payload(lines[1], IN_TOTO).replace(b'"hold"', b'"promote"')
    return [lines[0], envelope.seal(payload, IN_TOTO, load_signer(key, str)), lines[2]]


ATTACKS: dict[str, Callable[[Lines, Path], Lines]] = {
    "the first removed": lambda lines, _: lines[1:],
    "one removed in the middle": lambda lines, _: [lines[0], lines[2]],
    "the last removed": lambda lines, _: lines[:2],
    "all removed": lambda lines, _: [],
    "two changed places": lambda lines, _: [lines[1], lines[0], lines[2]],
    "one written twice": lambda lines, _: [*lines, lines[2]],
    "one put in between": lambda lines, _: [lines[0], lines[0], *lines[1:]],
    "a blank line": lambda lines, _: [*lines, b"\n"],
    "a carriage return": lambda lines, _: [lines[0][:-1] + b"\r\n", *lines[1:]],
    "an unsigned line behind": lambda lines, _: [*lines, canonical(said("four")) + b"\n"],
    "an unsigned line before": lambda lines, _: [canonical(said("zero")) + b"\n", *lines],
    "half a line behind": lambda lines, _: [*lines, lines[0][:40]],
    "the last cut in half": lambda lines, _: [*lines[:2], lines[2][:-40]],
    "the last newline": lambda lines, _: [*lines[:2], lines[2][:-1]],
    "edited and signed anew": _resigned,
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_each_attack_on_the_ledger_is_found(copy: Copy, attack: str) -> None:
    copy.put(ATTACKS[attack](copy.lines, copy.path.parent))
    assert copy.verified().findings


def test_a_head_that_is_gone_is_found(copy: Copy) -> None:
    copy.head.unlink()
    found = copy.verified().findings
    assert [f.found for f in found] == ["there is no signed head beside the ledger"]


def test_a_line_that_the_head_does_not_cover_is_found(copy: Copy) -> None:
    copy.put(copy.lines, copy.early)
    assert "1 lines are not under" in copy.verified().findings[0].found


def test_only_a_kept_head_finds_ledger_and_head_cut_off_together(copy: Copy) -> None:
    copy.put(copy.lines[:2], copy.early)
    assert not copy.verified().findings
    found = copy.verified(copy.kept).findings
    assert [f.found for f in found] == ["the head that was kept is over 3 lines; 1 are gone"]


def test_only_a_kept_head_finds_a_history_written_anew_with_the_stolen_key(
    copy: Copy, tmp_path: Path
) -> None:
    shutil.copytree(copy.home.keys.folder, tmp_path / "keys")
    forged = Ledger(tmp_path / "ledger.jsonl")
    forged.keys.published.unlink()  # as at the first use of the key
    for name in ("one", "another", "three"):
        forged.append(said(name))
    copy.put([forged.path.read_bytes()], forged.head_path.read_bytes())
    assert not copy.verified().findings
    assert "over other lines" in copy.verified(copy.kept).findings[0].found


def test_an_early_head_still_fits_a_longer_ledger(copy: Copy, tmp_path: Path) -> None:
    early = tmp_path / "early.head"
    early.write_bytes(copy.early)
    assert not copy.verified(early, copy.kept).findings


def test_keys_of_somebody_else_verify_nothing(copy: Copy, tmp_path: Path) -> None:
    other = new_key(tmp_path / "other.pem")
    found = verify(copy.path, (other,), ()).findings
    assert len(found) == 4  # each line, and the head


def test_a_genuine_statement_in_another_place_is_found(copy: Copy) -> None:
    """With a stolen copy of one signature nothing can be written: the place is signed."""
    signer = copy.home.keys.signer()
    lines = [copy.lines[0], copy.lines[0].rstrip(b"\n")]
    head = sign_head("x", 2, merkle.root([line.rstrip(b"\n") for line in lines]), signer)
    copy.put([lines[0], lines[1] + b"\n"], head)
    assert [f.line for f in copy.verified().findings] == [2]


def test_a_signature_more_than_asked_for_is_found(copy: Copy, tmp_path: Path) -> None:
    new_key(tmp_path / "k.pem")
    signer = load_signer(tmp_path / "k.pem", str)
    copy.put([*copy.lines[:2], envelope.add_signature(copy.lines[2], IN_TOTO, signer)])
    assert "is signed by" in copy.verified().findings[0].found


def test_a_rotation_by_nobody_trusted_is_found(copy: Copy, tmp_path: Path) -> None:
    attacker = new_key(tmp_path / "k.pem")
    signer = load_signer(tmp_path / "k.pem", str)
    about = {"key": attacker.key, "retired": [copy.keys[0].keyid]}
    last = copy.home.read()[-1][0]
    record = placed({**said("rotate", **about)}, 3, last)
    record["predicate"]["act"] = "rotate"
    lines = [*copy.lines, envelope.seal(canonical(record), IN_TOTO, signer)]
    head = sign_head("x", 4, merkle.root([line.rstrip(b"\n") for line in lines]), signer)
    copy.put(lines, head)
    assert {f.line for f in copy.verified().findings} == {4, None}


# Proofs


def test_a_proof_shows_one_line_to_somebody_without_the_others(copy: Copy) -> None:
    for index in range(3):
        entry, proof = prove(copy.home, index)
        head = check_proof(entry.line, proof.text, copy.keys)
        assert (head.size, Proof.parse(proof.text)) == (3, proof)
        with pytest.raises(BrokenLedger, match="does not show"):
            check_proof(entry.line + b" ", proof.text, copy.keys)
    with pytest.raises(UsageError, match="no 3"):
        prove(copy.home, 3)


def test_every_byte_of_a_proof_counts(copy: Copy) -> None:
    entry, proof = prove(copy.home, 1)
    for at in range(len(proof.text)):
        changed = bytearray(proof.text)
        changed[at] ^= 1
        with pytest.raises(BrokenLedger):
            check_proof(entry.line, bytes(changed), copy.keys)


def test_a_growth_shows_that_a_later_head_extends_an_earlier(copy: Copy) -> None:
    growth = prove_growth(copy.home, copy.early)
    assert check_growth(copy.early, growth.text, copy.keys).size == 3
    with pytest.raises(BrokenLedger, match="does not show"):
        check_growth(copy.signed, growth.text, copy.keys)
    for at in range(len(growth.text)):
        changed = bytearray(growth.text)
        changed[at] ^= 1
        with pytest.raises(BrokenLedger):
            check_growth(copy.early, bytes(changed), copy.keys)


def test_there_is_no_growth_from_another_history(copy: Copy) -> None:
    signer, origin = copy.home.keys.signer(), copy.home.origin()
    for size in (2, 9):
        other = sign_head(origin, size, merkle.root([b"other"]), signer)
        with pytest.raises(BrokenLedger, match="does not begin"):
            prove_growth(copy.home, other)


def test_the_key_of_a_note_verifier() -> None:
    """The example of golang.org/x/mod/sumdb/note."""
    known = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    raw = base64.b64decode(known.rpartition("+")[2])[1:]
    assert vkey("PeterNeumann", PublicKey.parse(base64.b64encode(raw).decode())) == known


# A ledger of this format must verify for ever


def test_the_ledger_of_this_format_verifies(tmp_path: Path) -> None:
    seen = verify(
        FIXTURES / "v0.2.jsonl",
        PublicKey.given(str(FIXTURES / "v0.2.pub")),
        [FIXTURES / "v0.2.kept.head"],
    )
    assert not seen.findings
    assert (seen.lines, seen.unsigned, len(seen.signed_by)) == (7, 3, 2)


# The command line


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def test_the_commands(copy: Copy, tmp_path: Path) -> None:
    home = ["--home", str(copy.home.path.parent)]
    assert run("ledger", "path", *home)[1].strip() == str(copy.home.path)
    assert run("ledger", "head", *home)[1].encode() == copy.signed
    assert run("ledger", "verify", *home)[0] == 0
    code, text = run("key", "show", "--pipeline", "--out", str(tmp_path / "pub"), *home)
    assert code == 0 and copy.keys[0].key in text
    pem = next((tmp_path / "pub").glob("pipeline-*.pem"))
    for key in (copy.keys[0].key, str(pem), str(tmp_path / "pub" / "pipeline.pub")):
        given = ["--path", str(copy.path), "--key", key, "--head", str(copy.kept)]
        code, text = run("ledger", "verify", *given, "--json")
        assert (code, json.loads(text)["findings"]) == (0, [])
    copy.put(copy.lines[:2])
    code, text = run("ledger", "verify", "--path", str(copy.path), *home)
    assert code == 4 and "1 are gone" in text
    out = ["--out", str(tmp_path / "proof")]
    assert run("ledger", "prove", "1", *out, *home)[0] == 0
    shown = [str(tmp_path / "proof" / name) for name in ("1.intoto.json", "1.tlog-proof")]
    code, text = run("ledger", "check-proof", *shown, "--key", copy.keys[0].key)
    assert code == 0 and "of 3 lines" in text
    (tmp_path / "early").write_bytes(copy.early)
    grown = [str(tmp_path / "early"), str(tmp_path / "grown")]
    assert run("ledger", "extends", grown[0], "--out", grown[1], *home)[0] == 0
    code, text = run("ledger", "check-extends", *grown, "--key", copy.keys[0].key)
    assert code == 0 and "only grew, to 3 lines" in text
