"""The chain of statements: written once, in order, and any change is found."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tidegate.flows.ledger import Ledger
from tidegate.gates.audit import BrokenLedger, Statement, statement
from tidegate.gates.digest import digest_bytes

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)


def make(ledger: Ledger, decision: str) -> str:
    def build(previous: str) -> Statement:
        return statement(
            act="decide",
            model="assistant",
            subjects={"adapter": digest_bytes(decision.encode())},
            about={"decision_id": decision, "action": "hold"},
            decided_at=NOON,
            previous=previous,
        )

    return ledger.append(build)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    for decision in ("one", "two", "three"):
        make(ledger, decision)
    return ledger


def test_each_statement_holds_the_digest_of_the_one_before(ledger: Ledger) -> None:
    entries = ledger.read()
    assert [e["predicate"]["about"]["decision_id"] for _, e in entries] == [
        "one",
        "two",
        "three",
    ]
    assert [e["predicate"]["previous"] for _, e in entries[1:]] == [d for d, _ in entries[:-1]]


def test_the_same_decision_is_written_once(ledger: Ledger) -> None:
    first = ledger.read()[1][0]
    assert make(ledger, "two") == first
    assert len(ledger.read()) == 3


def test_any_changed_byte_of_an_earlier_line_is_found(ledger: Ledger) -> None:
    content = ledger.path.read_bytes()
    # The last line has no successor yet: who holds its digest elsewhere can check it.
    end = content.rstrip(b"\n").rfind(b"\n")
    for at in range(0, end, 7):
        changed = bytearray(content)
        changed[at] ^= 1
        ledger.path.write_bytes(changed)
        with pytest.raises(BrokenLedger):
            ledger.read()


@pytest.mark.parametrize("keep", [(0, 2), (1, 2), (1, 0, 2)], ids=["removed", "cut", "moved"])
def test_a_removed_or_moved_line_is_found(ledger: Ledger, keep: tuple[int, ...]) -> None:
    lines = ledger.path.read_bytes().splitlines(keepends=True)
    ledger.path.write_bytes(b"".join(lines[i] for i in keep))
    with pytest.raises(BrokenLedger, match="does not follow"):
        ledger.read()


def test_a_line_cut_off_in_writing_is_named(ledger: Ledger) -> None:
    ledger.path.write_bytes(ledger.path.read_bytes()[:-10])
    with pytest.raises(BrokenLedger, match=r"ledger.jsonl:3: the last line was cut off"):
        make(ledger, "four")
