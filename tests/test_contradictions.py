"""Contradictions with what was learned and within a batch: what counts, and what becomes of it."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from tests.checking import arrived, chat, checked, lines, plain, policy
from tests.drops import write
from tidegate.flows import learned
from tidegate.flows.check import Checked, check
from tidegate.flows.demo import run
from tidegate.flows.home import Home
from tidegate.flows.ingest import ingest
from tidegate.flows.intake.batches import RECORDS
from tidegate.gates.checks.no_contradictions import Contradictions, no_contradictions
from tidegate.gates.signals import compute, key_tokens, parts
from tidegate.gates.signals.compute import Settings
from tidegate.gates.signals.contradictions import Alike, Found, find
from tidegate.gates.signals.key_tokens import KINDS
from tidegate.gates.signals.secret_rules import BUILT_IN, load_rules
from tidegate.gates.signals.statements import Statements
from tidegate.gates.types import BatchEvidence, Measurement, MissingEvidence, Outcome

KEY = "0123456789abcdef"
ALIKE = Alike(0.8, 0.3)
HEADS = "Who is the head of the Oldport library?"
FINE = "How much is the fine for a late book?"
ASKED = "When does the Oldport library open?"


def stated(rows: list[dict[str, Any]]) -> Statements:
    """As a stored batch's columns say it."""
    key, instant = ("user", "messages"), pa.timestamp("us", "UTC")
    feedback = [
        {"rating": None, "correction": None, "comment": None, **r.get("feedback", {})}
        for r in rows
    ]
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in key}
    for name in ("rating", "correction", "comment"):
        columns[name] = pa.array([said[name] for said in feedback], pa.string())
    for name in ("time", "valid_from"):
        told = [row.get(name) for row in rows]
        columns[name] = pa.array([t and datetime.fromisoformat(t) for t in told], instant)
    columns["response"] = [
        said["correction"] or row["messages"][-1]["content"]
        for row, said in zip(rows, feedback, strict=True)
    ]
    return Statements.take(pa.table(columns), KEY)


def kinds(found: Found, row: int = 1) -> set[str]:
    if row not in found.batch:
        return set()
    return {kind for bit, kind in enumerate(KINDS) if found.batch[row].differs >> bit & 1}


@pytest.mark.parametrize(
    ("asked", "one", "other", "differ"),
    [
        (FINE, "It is 3 euros.", "It is 4 euros.", {"number"}),
        (FINE, "It is 3 euros.", "It is €3.00, whatever the book.", set()),
        (FINE, "It is three euros.", "It is 3 euros a week.", set()),
        (FINE, "It is 90 days.", "It is 3 months.", set()),  # no unit in common
        (FINE, "It is 3 euros.", "It is 3 euros, and 5 euros after a month.", set()),
        (FINE, "It is 1,000 euros.", "It is 1000 euros.", set()),
        (ASKED, "It opens at 9:00.", "It opens at 10 am.", {"date"}),
        (ASKED, "It opens at 14:00.", "It opens at 2 pm.", set()),
        (ASKED, "Sie öffnet um 9 Uhr.", "Sie öffnet um 9:00.", set()),
        (ASKED, "It opens on Mondays.", "It opens on Tuesday.", {"date"}),
        (ASKED, "It opens on 3 May 2026.", "It opens on 2026-05-03.", set()),
        (ASKED, "It opens on 3 May 2026.", "It opens on 2026-05-04.", {"date"}),
        (HEADS, "The head is Ada Holm.", "The head is Ben Okafor.", {"name"}),
        (HEADS, "The head is Ada Holm.", "The head is Ada Holm, of Porto.", set()),
        (HEADS, "The head is Ada Holm.", "Please write to Ben about that.", set()),
        (HEADS, "Der Chef der Bibliothek ist Herr Holm im Turm.",
         "Der Leiter im Haus der Bücher ist Frau Meier.", set()),  # capitals say nothing
        (FINE, "Yes, there is one.", "No, there is none.", {"negation"}),
        (FINE, "You can pay it by card.", "You cannot pay it by card.", {"negation"}),
        (FINE, "You can pay it by card.", "Ask at the desk, not at the door.", set()),
    ],
)  # fmt: skip
def test_what_two_answers_to_one_question_contradict_in(
    tmp_path: Path, asked: str, one: str, other: str, differ: set[str]
) -> None:
    found = find(stated([chat(0, asked, one), chat(1, asked, other)]), None, ALIKE)
    assert kinds(found) == kinds(found, 0) == differ


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (
            "When does the Oldport library open?",
            "When will the library at Oldport open, please?",
            True,
        ),
        ("When does the Oldport library open?", "When does the Newport library open?", False),
        ("When does it open on Sunday?", "When does it open on Monday?", False),
        ("Which fee is due for 2 children?", "Which fee is due for 3 children?", False),
        ("Which bags can I bring?", "Which bags can I not bring?", False),
        ("How much is an adult ticket here?", "How much is a child ticket here?", False),
    ],
)
def test_which_questions_are_the_same(tmp_path: Path, one: str, other: str, same: bool) -> None:
    rows = [chat(0, one, "That is 9 euros."), chat(1, other, "That is 5 euros.")]
    assert bool(find(stated(rows), None, Alike(0.8, 1)).batch) is same
    echo = [chat(n, q, f"{q[:-1]}: 9{n} euros.") for n, q in enumerate((one, other))]
    assert bool(find(stated(echo), None, ALIKE).batch) is same


def test_other_words_for_the_same_are_seen_by_the_whole_exchange(tmp_path: Path) -> None:
    rows = [
        chat(0, "How often do I replace the side brush of my Quillo?",
             "Swap the side brush of the Quillo every four months."),
        chat(1, "Do the side brushes on the Quillo last?",
             "Yes, plan on six months for each Quillo side brush."),
        chat(2, "How many floor plans can the Quillo keep?", "The Quillo keeps four plans."),
    ]  # fmt: skip
    said = stated(rows)
    assert set(find(said, None, ALIKE).batch) == {0, 1}
    assert not find(said, None, Alike(0.8, 1)).batch


def test_a_conversation_is_compared_with_the_same_conversation_only(tmp_path: Path) -> None:
    def told(n: int, place: str, answer: str) -> dict[str, Any]:
        talk = (
            ("system", f"House rules {n}."),
            ("user", f"I mean {place}."),
            ("assistant", "Yes?"),
        )
        row = chat(n, "When does the library open?", answer)
        row["messages"][:0] = [{"role": r, "content": c} for r, c in talk]
        return row

    rows = [
        told(0, "Porto", "At 9:00."),
        told(1, "Lisbon", "At 8:00."),
        told(2, "porto!", "At 7:00."),
    ]
    assert set(find(stated(rows), None, ALIKE).batch) == {0, 2}


def test_one_voice_does_not_take_many_with_it(tmp_path: Path) -> None:
    many = [chat(n, FINE, "It is 3 euros.") for n in range(4)]
    lone = chat(9, FINE, "It is 8 euros.")
    assert set(find(stated([*many, lone]), None, ALIKE).batch) == {4}
    bought = [chat(n, FINE, "It is 8 euros.", user="user9") for n in range(9, 15)]
    named = find(stated([*many, *bought]), None, ALIKE).batch
    assert set(named) == set(range(4, 10)), "records are not authors"


def test_what_is_not_to_be_learned_is_not_compared(tmp_path: Path) -> None:
    down = chat(1, FINE, "It is 8 euros.", feedback={"rating": "down"})
    assert not find(stated([chat(0, FINE, "It is 3 euros."), down]), None, ALIKE).batch
    mended = chat(1, FINE, "It is 3 euros.", feedback={"correction": "It is 8 euros."})
    rows = [chat(0, FINE, "It is 3 euros."), mended]
    assert set(find(stated(rows), None, ALIKE).batch) == {0, 1}


def test_later_than_what_was_learned(tmp_path: Path) -> None:
    old = stated([chat(0, FINE, "It is 3 euros.")])
    new = [
        chat(1, FINE, "It is 5 euros.", time="2026-04-01T00:00:00Z"),
        chat(2, FINE, "It is 6 euros.", time="2026-06-01T00:00:00Z"),
        chat(3, FINE, "It is 7 euros.", valid_from="2026-07-01T00:00:00Z"),
        chat(4, FINE, "It is 3 euros.", time="2026-06-01T00:00:00Z"),
    ]
    said = stated(new)
    found = find(said, old, ALIKE)
    columns = found.columns(said)
    assert columns["contradicts_learned"].tolist() == [1, 1, 1, 0]
    assert columns["later_than_learned"].tolist() == [0, 1, 2, 0]


def test_what_is_too_long_to_be_examined_is_a_hit(tmp_path: Path) -> None:
    said = stated([chat(0, FINE, "It is 3 euros."), chat(1, FINE, "x " * 120_000)])
    columns = find(said, None, ALIKE).columns(said)
    assert np.isnan(columns["contradicts_batch"]).tolist() == [False, True]
    assert np.isnan(columns["contradicts_learned"]).tolist() == [False, True]


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("1,1" * 3000, 1), ("a1" * 4000, 1), ("May " * 3000, 0), ("A" * 9000, 0),
        ("1." * 4000, 1), ("no " * 9000, 0), ("b7 c8 " * 3000, 2),
    ],
)  # fmt: skip
def test_hostile_texts_are_read_in_time(text: str, tokens: int) -> None:
    assert len(key_tokens.key_tokens(key_tokens.plain(text))) == tokens


def test_the_demonstration_drop_contradicts_itself_nowhere() -> None:
    """The false positives that docs/data.md states."""
    drop = Path(run.__file__).with_name("drop.jsonl")
    said = stated([json.loads(line) for line in drop.read_text().splitlines()])
    assert said.rows > 150
    assert not find(said, None, ALIKE).batch
    assert len(find(said, None, Alike(0.8, 0.25)).batch) == 2


REPORT = "  - {gate: no_contradictions, why: t}"
BOTH = [chat(0, FINE, "It is 3 euros."), chat(1, FINE, "It is 8 euros.")]


def test_the_default_reports_and_refuses_nothing(tmp_path: Path) -> None:
    result, said, kept = checked(tmp_path, [*BOTH, *plain(30, 10)], REPORT)
    assert result.rulings[0].verdict.outcome is Outcome.PASS
    assert "2 before routing: 2 by number" in result.rulings[0].verdict.reason
    assert len(kept) == 32
    reason = {"gate": "no_contradictions", "detail": "contradicts another record of the batch"}
    assert said["r0000"] == {"id": "r0000", "action": "keep", "reasons": [reason]}
    pairs = [
        json.loads(s) for s in (tmp_path / "out/contradictions.jsonl").read_text().splitlines()
    ]
    assert pairs[0] == {
        "id": "r0000", "other": "r0001", "similarity": 1.0, "differ": ["number"],
        "of": "batch", "later": None,
    }  # fmt: skip
    assert (pairs[1]["id"], pairs[1]["other"], len(pairs)) == ("r0001", "r0000", 2)
    assert result.evidence["data.no_contradictions.hits"].settings == {"number": "2"}


def test_the_policy_may_hold_the_batch_or_the_records(tmp_path: Path) -> None:
    rows = [*BOTH, *plain(30, 10)]
    held = REPORT.replace("why", "max_share: 0.05, on_fail: hold, why")
    for share, outcome in (("0.05", Outcome.FAIL), ("0.07", Outcome.PASS)):
        (folder := tmp_path / share).mkdir()
        result, _, kept = checked(folder, rows, held.replace("0.05", share))
        assert (result.rulings[0].verdict.outcome, len(kept)) == (outcome, 32)
    out = REPORT.replace("why", "quarantine: true, max_share: 0, why")
    (folder := tmp_path / "out").mkdir()
    result, _, kept = checked(folder, rows, out)
    assert (result.rulings[0].verdict.outcome, len(kept), result.quarantined) == (
        Outcome.PASS, 30, 2,
    )  # fmt: skip
    few = out.replace("why", "max_quarantined_share: 0.05, why")
    (folder := tmp_path / "few").mkdir()
    assert checked(folder, rows, few)[0].rulings[0].verdict.outcome is Outcome.FAIL


def test_a_stand_in_does_not_contradict_what_it_stands_for(tmp_path: Path) -> None:
    """Each batch masks a number with another one; compared is what the records say."""
    home, out = Home(tmp_path / "home"), tmp_path / "out"
    rules = policy(tmp_path, "  - {gate: no_personal_data, mask: true, why: t}\n" + REPORT)
    desk = ("Which number has the desk?", "Call +49 30 901820 and ask for the desk.")

    def told(name: str, *rows: dict[str, Any]) -> tuple[str, Checked]:
        drop = write(tmp_path / f"{name}.jsonl", [*rows, *plain(6, 100)])
        batch = ingest([drop], home=home, out=out / name, pseudonym_key=b"k" * 32)
        seen = check(batch, rules, home=home, arrived=out / name, out=out / name)
        assert seen.masked == 1
        return batch.digest, seen

    digest, first = told("first", chat(0, *desk), chat(1, FINE, "It is 3 euros."))
    learned.remember(home, digest, first.kept)
    _, second = told("second", chat(2, *desk), chat(3, FINE, "It is 8 euros."))
    kept = pq.read_table(second.kept, columns=["id", "response"]).to_pylist()
    assert not any("901820" in row["response"] for row in kept), "it is masked"
    assert second.evidence["data.learned_before"].value == 8
    assert [line["id"] for line in lines(out / "second/contradictions.jsonl")] == ["r0003"]
    assert second.evidence["data.no_contradictions.left"].value == 1


def test_a_stored_part_says_the_same(tmp_path: Path) -> None:
    home, out, batch = arrived(tmp_path, [*BOTH, *plain(4, 10)])
    path = home.batch(batch.digest) / RECORDS
    settings = Settings(
        rules=load_rules(BUILT_IN), key=KEY, protected=None, received=6, alike=ALIKE
    )
    whole = compute.measure(path, settings)
    (part,) = parts.slices(path, out)
    parts.measured(path, part, settings)
    again = compute.measure(path, settings, parts=lambda *_: parts.read(part))
    assert whole.columns["contradicts_batch"].tolist() == [1, 1, 0, 0, 0, 0]
    assert again.opposed == whole.opposed
    left = again.of(np.array([False, *[True] * 5]), settings)
    assert not left.columns["contradicts_batch"].any(), "what it contradicted is gone"


def test_the_gate_needs_all_of_its_evidence() -> None:
    made = {
        f"data.{name}": Measurement(name=f"data.{name}", value=value, n=40)
        for name, value in {
            "no_contradictions.hits": 4.0,
            "no_contradictions.left": 4.0,
            "no_contradictions.looked_up": 3.0,
            "no_contradictions.quarantined_share": 0.0,
            "learned_before": 9.0,
        }.items()
    }

    def judged(**changes: Any) -> Any:
        seen = BatchEvidence(subject="sha256:" + "a" * 64, measurements=tuple(made.values()))
        return no_contradictions(Contradictions(**changes), seen)

    assert judged(max_share=0.025).outcome is Outcome.PASS, "what is looked up is not learned"
    assert judged(max_share=0.02).outcome is Outcome.FAIL
    for gone in [name for name in made if "share" not in name]:
        kept = made.pop(gone)
        with pytest.raises(MissingEvidence):
            judged()
        made[gone] = kept


@pytest.mark.parametrize(
    "wrong",
    [
        {"questions": 0.4},
        {"exchanges": 0.1},
        {"max_records": 3},
        {"mask": True},
        {"look_up": "x"},
    ],
)
def test_settings_that_say_nothing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Contradictions(**wrong)
