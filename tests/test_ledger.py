"""The chain of statements: written once, in order, signed, and put right after a crash."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tidegate.flows.ledger import ORIGIN, Ledger
from tidegate.flows.signing.head import sign_head
from tidegate.flows.signing.in_toto import NotAStatement
from tidegate.flows.signing.keys import KeyFileError, public_of
from tidegate.flows.signing.pipeline import PipelineKeys
from tidegate.flows.verifying import verify
from tidegate.gates import merkle
from tidegate.gates.audit import BrokenLedger, Statement, statement
from tidegate.gates.digest import digest_bytes

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)


def said(decision: str, **about: object) -> Statement:
    return statement(
        act="decide",
        model="assistant",
        subjects={"adapter": digest_bytes(decision.encode())},
        about={"decision_id": decision, "action": "hold", **about},
        decided_at=NOON,
    )


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    for decision in ("one", "two", "three"):
        ledger.append(said(decision))
    return ledger


def acts(ledger: Ledger) -> list[str]:
    return [record["predicate"]["about"]["decision_id"] for _, record in ledger.read()]


def test_each_statement_holds_its_place_and_the_digest_of_the_one_before(
    ledger: Ledger,
) -> None:
    entries = ledger.read()
    assert acts(ledger) == ["one", "two", "three"]
    assert [e["predicate"]["index"] for _, e in entries] == [0, 1, 2]
    assert [e["predicate"]["previous"] for _, e in entries[1:]] == [d for d, _ in entries[:-1]]
    keyid = public_of(ledger.keys.signer()).keyid
    assert {entry.keyid for entry in ledger.entries()} == {keyid}


def test_the_same_decision_is_written_once(ledger: Ledger) -> None:
    first = ledger.read()[1][0]
    assert ledger.append(said("two")) == first
    assert len(ledger.read()) == 3


def test_the_private_key_is_for_its_owner_alone_and_out_of_git(ledger: Ledger) -> None:
    assert ledger.keys.private.stat().st_mode & 0o777 == 0o600
    assert (ledger.keys.folder / ".gitignore").read_text() == "*\n"
    ledger.keys.private.chmod(0o644)
    with pytest.raises(KeyFileError, match="others may read"):
        ledger.append(said("four"))


def test_a_lost_key_is_not_made_anew_in_silence(ledger: Ledger) -> None:
    ledger.keys.private.unlink()
    with pytest.raises(KeyFileError, match="is gone"):
        ledger.append(said("four"))
    assert len(ledger.read()) == 3


def test_a_number_that_a_stranger_would_read_differently_is_refused(ledger: Ledger) -> None:
    with pytest.raises(NotAStatement, match="another statement"):
        ledger.append(said("four", seed=2**60 + 1))
    assert len(ledger.read()) == 3


# A home that somebody changed


def _no_head(ledger: Ledger) -> None:
    ledger.head_path.unlink()


def _no_ledger(ledger: Ledger) -> None:
    ledger.path.unlink()


def _nothing(ledger: Ledger) -> None:
    ledger.path.unlink()
    ledger.head_path.unlink()


def _cut_off(ledger: Ledger) -> None:
    lines = ledger.path.read_bytes().splitlines(keepends=True)
    ledger.path.write_bytes(b"".join(lines[:-1]))


def _torn(ledger: Ledger) -> None:
    ledger.path.write_bytes(ledger.path.read_bytes()[:-10])


def _all_unsigned(ledger: Ledger) -> None:
    ledger.head_path.unlink()
    ledger.path.write_bytes(b'{"_type":"https://in-toto.io/Statement/v1","predicate":{}}\n')


@pytest.mark.parametrize(
    "change", [_no_head, _no_ledger, _nothing, _cut_off, _torn, _all_unsigned]
)
def test_a_home_whose_ledger_was_cut_off_goes_no_further(
    ledger: Ledger, change: Callable[[Ledger], None]
) -> None:
    change(ledger)
    content = ledger.path.read_bytes() if ledger.path.exists() else None
    for use in (ledger.read, lambda: ledger.append(said("four"))):
        with pytest.raises(BrokenLedger):
            use()
    assert (ledger.path.read_bytes() if ledger.path.exists() else None) == content


# A process that was killed


def test_a_line_without_a_head_is_put_under_one(ledger: Ledger) -> None:
    before = ledger.head_path.read_bytes()
    ledger.append(said("four"))
    ledger.head_path.write_bytes(before)  # killed between line and head
    assert len(ledger.read()) == 4
    digest = ledger.append(said("four"))  # the same act, run again
    assert digest == ledger.read()[-1][0]
    assert len(ledger.headed()[1]) == 4


def test_who_acts_on_a_statement_puts_it_under_a_head_first(ledger: Ledger) -> None:
    before = ledger.headed()
    ledger.settle()
    assert ledger.headed() == before  # nothing to put right
    ledger.append(said("b"))
    ledger.head_path.write_bytes(before[0])  # killed between line and head
    ledger.settle()
    assert len(ledger.headed()[1]) == len(ledger.read()) == len(before[1]) + 1


def test_a_home_without_a_ledger_is_given_none_by_looking_for_heads(tmp_path: Path) -> None:
    Ledger(tmp_path / "home" / "ledger.jsonl").settle()
    assert list(tmp_path.iterdir()) == []


def test_a_line_cut_off_in_writing_is_moved_aside_and_recorded(ledger: Ledger) -> None:
    before, head = ledger.path.read_bytes(), ledger.head_path.read_bytes()
    ledger.append(said("four"))
    torn = ledger.path.read_bytes()[len(before) :][:-20]
    ledger.path.write_bytes(before + torn)
    ledger.head_path.write_bytes(head)
    assert len(ledger.read()) == 3  # it never was
    ledger.append(said("four"))
    assert acts(ledger)[:3] == ["one", "two", "three"] and acts(ledger)[4] == "four"
    recovered = ledger.read()[3][1]["predicate"]
    assert (recovered["act"], recovered["model"]) == ("recover", "")
    assert recovered["about"]["bytes"] == len(torn)
    assert (ledger.path.parent / recovered["about"]["file"]).read_bytes() == torn
    assert ledger.model_lines() == {"assistant"}


KILLED = """
import os, sys
from pathlib import Path
from tidegate.flows import durable
from tidegate.flows.ledger import Ledger
from tests.test_ledger import said

real, step = {name: getattr(durable, name) for name in ("replace", "append")}, int(sys.argv[2])
count = 0

def counted(name):
    def call(*args, **kwargs):
        global count
        if count == step:
            os.kill(os.getpid(), 9)
        count += 1
        real[name](*args, **kwargs)
    return call

import tidegate.flows.signing.pipeline as pipeline
for name in real:
    setattr(durable, name, counted(name))
    setattr(pipeline, name, counted(name))
Ledger(Path(sys.argv[1])).append(said("one"))
Ledger(Path(sys.argv[1])).rotate()
Ledger(Path(sys.argv[1])).append(said("two"))
print(count)
"""


@pytest.mark.slow
def test_killed_before_any_write_the_same_acts_finish_it(tmp_path: Path) -> None:
    """Kill -9 before each file that the first act, a rotation and a second act write."""
    for step in range(40):
        path = tmp_path / str(step) / "ledger.jsonl"
        command = [sys.executable, "-c", KILLED, str(path), str(step)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
        ledger = Ledger(path)
        ledger.append(said("one"))
        if "rotate" not in " ".join(acts(ledger)):
            ledger.rotate()
        ledger.append(said("two"))
        names = acts(ledger)
        assert [names[0], names[2]] == ["one", "two"] and len(names) == 3, (step, done.stderr)
        assert len(ledger.headed()[1]) == 3
        assert ledger.entries()[-1].keyid == public_of(ledger.keys.signer()).keyid
        if done.returncode == 0:
            assert step > 8
            return
        assert done.returncode == -9, done.stderr
    pytest.fail("it was never let through")


ROOT = Path(__file__).parents[1]


def test_many_processes_write_one_after_the_other(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    code = (
        "import sys; from pathlib import Path; from tidegate.flows.ledger import Ledger; "
        "from tests.test_ledger import said; "
        "[Ledger(Path(sys.argv[1])).append(said(f'{sys.argv[2]}.{n}')) for n in range(4)]"
    )
    command = [sys.executable, "-c", code, str(path)]
    running = [subprocess.Popen([*command, str(n)], cwd=ROOT) for n in range(4)]
    assert [child.wait(timeout=120) for child in running] == [0] * 4
    assert sorted(acts(Ledger(path))) == [f"{n}.{m}" for n in range(4) for m in range(4)]


# Before there were signatures


def test_an_unsigned_ledger_is_read_and_signed_over_by_the_next_act(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    old = (FIXTURES / "unsigned.jsonl").read_bytes()
    ledger.path.write_bytes(old)
    assert len(ledger.read()) == 3
    assert not ledger.keys.private.exists()  # reading makes no key
    ledger.append(said("signed"))
    assert ledger.path.read_bytes().startswith(old)
    assert [entry.keyid is None for entry in ledger.entries()] == [True, True, True, False]
    ledger.path.write_bytes(ledger.path.read_bytes().replace(b'"hold"', b'"hole"', 1))
    with pytest.raises(BrokenLedger):
        ledger.read()


FIXTURES = Path(__file__).parent / "ledgers"


# Another key


def test_a_new_key_signs_on_and_the_old_signatures_stay(ledger: Ledger) -> None:
    old = public_of(ledger.keys.signer())
    ledger.rotate()
    ledger.append(said("four"))
    new = public_of(ledger.keys.signer())
    assert new != old
    assert [entry.keyid for entry in ledger.entries()] == [old.keyid] * 4 + [new.keyid]
    assert ledger.keys.trusted() == (old, new)


def test_a_key_that_is_gone_is_replaced_by_one_that_signs_alone(ledger: Ledger) -> None:
    old = public_of(ledger.keys.signer())
    ledger.keys.private.unlink()
    ledger.rotate(lost=True)
    ledger.append(said("four"))
    assert ledger.read()[3][1]["predicate"]["about"]["lost"] is True
    assert [e.keyid == old.keyid for e in ledger.entries()] == [True] * 3 + [False] * 2


def test_a_retired_key_signs_nothing_any_more(ledger: Ledger) -> None:
    old = ledger.keys.private.read_bytes()
    ledger.rotate()
    new = ledger.keys.private.read_bytes()
    ledger.keys.private.write_bytes(old)  # somebody had kept a copy
    with pytest.raises(BrokenLedger, match="an older key was put back"):
        ledger.append(said("forged"))
    ledger.keys.private.write_bytes(new)
    assert len(ledger.read()) == 4


def test_each_line_is_an_envelope_of_its_own(ledger: Ledger) -> None:
    for line in ledger.path.read_bytes().splitlines():
        assert set(json.loads(line)) == {"payload", "payloadType", "signatures"}


def test_a_home_whose_public_files_were_all_replaced_is_found_out(
    ledger: Ledger, tmp_path: Path
) -> None:
    """By somebody without any private key: another ledger, its head, and its key before ours."""
    ours = ledger.keys.published.read_text()
    forged = Ledger(tmp_path / "forged" / "ledger.jsonl")
    for n in range(2):
        forged.append(said(f"f{n}"))
    for mine, theirs in ((ledger.path, forged.path), (ledger.head_path, forged.head_path)):
        shutil.copy(theirs, mine)
    for listed in (forged.keys.published.read_text() + ours, forged.keys.published.read_text()):
        ledger.keys.published.write_text(listed)
        with pytest.raises(BrokenLedger, match="no private key of this home"):
            ledger.read()
        with pytest.raises(BrokenLedger, match="no private key of this home"):
            ledger.append(said("u3"))
        seen = verify(ledger.path, ledger.keys.trusted(), (), own=ledger.keys.own())
        assert len(seen.findings) == 2
    ledger.keys.published.write_text(ours + forged.keys.published.read_text())
    with pytest.raises(BrokenLedger, match="no key that was given"):
        ledger.read()


def test_a_head_by_a_key_that_was_only_listed_counts_for_nothing(
    ledger: Ledger, tmp_path: Path
) -> None:
    """Lines cut off, and the rest signed for by a key that somebody put on the list."""
    other = PipelineKeys(tmp_path / "other")
    signer = other.signer_made()
    with ledger.keys.published.open("a") as listed:
        listed.write(public_of(signer).key + "\n")
    lines = ledger.path.read_bytes().splitlines(keepends=True)[:2]
    ledger.path.write_bytes(b"".join(lines))
    leaves = [line.rstrip(b"\n") for line in lines]
    head = sign_head(ORIGIN + "x", len(leaves), merkle.root(leaves), signer)
    ledger.head_path.write_bytes(head)
    with pytest.raises(BrokenLedger, match="signed by none of the keys"):
        ledger.read()
