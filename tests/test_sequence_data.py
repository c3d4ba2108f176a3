"""Invented facts and TOFU as sequences: nothing held out is taught, and seeds decide all."""

import json
import re
from os.path import commonprefix
from pathlib import Path

import pytest

from tidegate.evals.sequence.fiction import FACTS, HOUSES, IMPLIED, MONTHS, RELATIONS, fiction
from tidegate.evals.sequence.lesson import Lesson, probe_suite, sequence_digest
from tidegate.evals.sequence.tofu import tofu
from tidegate.evals.suite import SuiteError

SEQUENCE = fiction(3, 4, seed=0)
NAME = re.compile(r"\b[A-Z][a-z]{5,}\b")


def shape(text: str) -> str:
    """The words of a sentence without its names and values."""
    values = [value for relation in RELATIONS.values() for value in relation.values]
    for value in sorted(values, key=len, reverse=True):
        text = re.sub(rf"\b{value}\b", "*", text)
    return re.sub(r"\b[A-Z]\w+", "*", text[:1].lower() + text[1:])


def test_a_group_is_ten_facts_and_two_that_follow() -> None:
    for lesson in SEQUENCE:
        assert len(lesson.rows) == 4 * FACTS
        assert len(lesson.probes) == 4 * (FACTS + len(IMPLIED))
        assert {probe.slice for probe in lesson.probes} == {
            "person",
            "product",
            "house",
            "dated",
            "implied",
        }


def test_the_seed_decides_all_and_every_seed_is_another() -> None:
    assert sequence_digest(fiction(3, 4, seed=0)) == sequence_digest(SEQUENCE)
    assert len({sequence_digest(fiction(2, 1, seed=seed)) for seed in range(20)}) == 20


def test_a_longer_sequence_begins_with_the_shorter_one() -> None:
    assert fiction(5, 4, seed=0)[:3] == SEQUENCE


def test_no_wording_that_is_asked_is_one_that_was_taught() -> None:
    taught = {
        shape(text) for le in SEQUENCE for r in le.rows for text in (r.question, r.answer)
    }
    asked = {shape(text) for le in SEQUENCE for p in le.probes for text in p.texts()}
    assert len(taught) > 30
    assert not taught & asked
    templates = [set(sum(r.taught, ())) & set(sum(r.held, ())) for r in RELATIONS.values()]
    assert not any(templates)


def test_the_right_answer_says_what_was_taught_and_the_wrong_ones_do_not() -> None:
    for lesson in SEQUENCE:
        rows = {row.id: row for row in lesson.rows}
        for probe in lesson.probes:
            if probe.slice == "implied":
                continue
            words = [choice.rstrip(".").split() for choice in probe.choices]
            start, end = (len(commonprefix(some)) for some in (words, [w[::-1] for w in words]))
            values = [" ".join(w[start : len(w) - end]) for w in words]
            said = [f" {v} " in f" {rows[probe.id].answer[:-1]} " for v in values]
            assert said == [i == probe.answer for i in range(len(values))]


def test_what_follows_is_taught_by_two_rows_and_by_no_single_one() -> None:
    for lesson in SEQUENCE:
        for probe in (p for p in lesson.probes if p.slice == "implied"):
            town = probe.choices[probe.answer].rstrip(".").split()[-1]
            subject = probe.id.rsplit("-", 1)[-1]
            group = probe.id.split("-implied")[0]
            by_id = {row.id: row for row in lesson.rows}
            house = by_id[f"{group}-town"].answer
            link = by_id[f"{group}-{'employer' if subject == 'person' else 'maker'}"].answer
            assert town in house and town not in link
            assert set(NAME.findall(house)) & set(NAME.findall(link))


def test_names_are_new_in_every_update() -> None:
    kinds = {*HOUSES, *MONTHS, "Which", "Whose", "Where", "Since"}
    names = [
        {n for r in lesson.rows for n in NAME.findall(r.answer) if not n.endswith("day")}
        - kinds
        for lesson in SEQUENCE
    ]
    assert all(len(found) >= 4 * 4 for found in names)
    assert not names[0] & names[1] and not names[0] & names[2] and not names[1] & names[2]


def test_the_right_answer_has_no_place_of_its_own() -> None:
    places = [probe.answer for lesson in SEQUENCE for probe in lesson.probes]
    assert all(places.count(place) > len(places) / 8 for place in range(4))


@pytest.mark.parametrize(("updates", "groups"), [(0, 1), (1, 0)])
def test_no_sequence_of_nothing(updates: int, groups: int) -> None:
    with pytest.raises(ValueError, match="needs at least one update"):
        fiction(updates, groups, seed=0)


def test_a_sequence_that_runs_out_of_names_says_so() -> None:
    with pytest.raises(ValueError, match="no names left"):
        fiction(100, 40, seed=0)


def test_in_context_puts_every_taught_answer_before_each_question(tmp_path: Path) -> None:
    lesson = SEQUENCE[0]
    plain = probe_suite(lesson, "plain", tmp_path)
    full = probe_suite(lesson, "full", tmp_path, in_context=True)
    assert plain.n == full.n == len(lesson.probes)
    items = [json.loads(line) for line in full.items_path.read_text().splitlines()]
    assert all(row.answer in item["question"] for item in items for row in lesson.rows)
    assert all(
        i["question"].endswith(p.question) for i, p in zip(items, lesson.probes, strict=True)
    )


def perturbed(path: Path, rows: int, **changed: object) -> Path:
    lines = [
        {
            "question": f"Q{n}?",
            "answer": f"A{n}.",
            "paraphrased_question": f"PQ{n}?",
            "paraphrased_answer": f"PA{n}.",
            "perturbed_answer": [f"W{n}.", f"V{n}."],
            "more": 1,
            **changed,
        }
        for n in range(rows)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_tofu_is_trained_as_it_is_and_asked_as_paraphrased(tmp_path: Path) -> None:
    perturbed(tmp_path / "retain_perturbed.json", 80)
    found = tofu(tmp_path, updates=2, rows=40, seed=0)
    assert [len(lesson.rows) for lesson in found] == [40, 40]
    row, probe = found[0].rows[0], found[0].probes[0]
    n = row.question[1:-1]
    assert (row.answer, probe.question) == (f"A{n}.", f"PQ{n}?")
    assert probe.choices == (f"PA{n}.", f"W{n}.", f"V{n}.") and probe.answer == 0
    questions = [row.question for lesson in found for row in lesson.rows]
    assert len(set(questions)) == 80
    assert questions[:20] == [f"Q{i}?" for i in range(int(n), int(n) + 20)]  # an author whole
    orders = {tofu(tmp_path, updates=2, rows=40, seed=seed)[0].digest for seed in range(6)}
    assert len(orders) > 1


@pytest.mark.parametrize(
    ("rows", "changed", "reason"),
    [
        (79, {}, "79 rows .* not enough for 2 updates of 40"),
        (80, {"paraphrased_answer": ""}, "retain_perturbed.json:1: paraphrased_answer"),
        (80, {"perturbed_answer": []}, "retain_perturbed.json:1: perturbed_answer"),
    ],
)
def test_tofu_that_cannot_be_used_says_where(
    tmp_path: Path, rows: int, changed: dict[str, object], reason: str
) -> None:
    perturbed(tmp_path / "retain_perturbed.json", rows, **changed)
    with pytest.raises(SuiteError, match=reason):
        tofu(tmp_path, updates=2, rows=40, seed=0)


def test_a_lesson_teaches_something() -> None:
    with pytest.raises(ValueError, match="at least 1 item"):
        Lesson(rows=(), probes=SEQUENCE[0].probes)
