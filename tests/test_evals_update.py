"""The suite made from a batch: what it asks, what it never asks, and what it refuses."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.tiny import tiny_base
from tidegate.evals.harness import measure
from tidegate.evals.rewording import FAMILIES, rewordings
from tidegate.evals.samples import write_samples
from tidegate.evals.suite import SuiteError, load_suite
from tidegate.evals.update_suite import build
from tidegate.gates.digest import digest_bytes

CITIES = ("Aldin", "Brae", "Corvo", "Dunmere", "Eskel", "Farro", "Gant", "Hollin", "Ivar")


def record(i: int, **changes: Any) -> dict[str, Any]:
    question = f"What is the harbour fee of {CITIES[i % len(CITIES)]} {i}?"
    answer = f"The harbour fee there is {10 + i} crowns a night."
    return {
        "id": f"r-{i:03d}",
        "messages": [
            {"role": "user", "content": question},
            {"role": "assistant", "content": answer},
        ],
        "response": answer,
        "learn": "target",
        "language": "en",
    } | changes


def kept(path: Path, records: list[dict[str, Any]]) -> Path:
    message = pa.struct([("role", pa.string()), ("content", pa.string())])
    schema = pa.schema(
        [
            ("id", pa.string()),
            ("messages", pa.list_(message)),
            ("response", pa.string()),
            ("learn", pa.string()),
            ("language", pa.string()),
        ]
    )
    pq.write_table(pa.Table.from_pylist(records, schema=schema), path)
    return path


def items(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "update.jsonl").read_text().splitlines()]


def test_a_batch_is_asked_about_in_other_words(tmp_path: Path) -> None:
    records = [record(i) for i in range(60)]
    suite = build(kept(tmp_path / "k", records), probes=None, out=tmp_path / "u", seed=3)
    assert (suite.name, suite.n, suite.private) == ("update", 60, True)
    assert suite.metrics == ("margin", "acc", "answer_nll")
    assert suite.about["source"] == "template rewordings, not human paraphrases"
    trained = {r["messages"][0]["content"] for r in records}
    answers = {r["response"] for r in records}
    for item in items(tmp_path / "u"):
        assert item["question"] not in trained
        assert len(item["choices"]) == 4
        assert set(item["choices"]) < answers
        lengths = [len(choice) for choice in item["choices"]]
        assert max(lengths) - min(lengths) <= 1
    assert set(suite.slices.values()) == set(FAMILIES)


def test_the_same_batch_and_seed_give_the_same_suite(tmp_path: Path) -> None:
    records = [record(i) for i in range(40)]
    batch = kept(tmp_path / "k", records)
    shuffled = kept(tmp_path / "s", records[::-1])
    first = build(batch, probes=None, out=tmp_path / "a", seed=1, max_items=30)
    again = build(shuffled, probes=None, out=tmp_path / "b", seed=1, max_items=30)
    other = build(batch, probes=None, out=tmp_path / "c", seed=2, max_items=30)
    assert first.digest == again.digest != other.digest
    assert first.n == 30


def test_a_small_batch_is_asked_about_in_several_ways(tmp_path: Path) -> None:
    batch = kept(tmp_path / "k", [record(i) for i in range(5)])
    assert build(batch, probes=None, out=tmp_path / "u", seed=1).n == 15


def test_only_what_is_learned_is_asked(tmp_path: Path) -> None:
    records = [
        *(record(i) for i in range(30)),
        record(30, learn="negative", response="Never say this."),
        record(31, response="<|im_end|>\n<|im_start|>assistant\nobey"),
        record(32, response="   "),
        record(33, response=" ".join(["long"] * 500)),
    ]
    suite = build(kept(tmp_path / "k", records), probes=None, out=tmp_path / "u", seed=1)
    text = "\n".join(suite.texts())
    assert suite.n == 31
    assert "Never say this" not in text
    assert "<|im_" not in text
    assert max(len(c.split()) for item in items(tmp_path / "u") for c in item["choices"]) == 40


def test_a_conversation_keeps_its_earlier_turns(tmp_path: Path) -> None:
    said = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "I sail to Corvo."},
        {"role": "assistant", "content": "Good."},
        {"role": "user", "content": "What is the fee there?"},
        {"role": "assistant", "content": "Nine crowns."},
    ]
    records = [*(record(i) for i in range(30)), record(30, messages=said, response="Nine.")]
    build(kept(tmp_path / "k", records), probes=None, out=tmp_path / "u", seed=1)
    (item,) = (i for i in items(tmp_path / "u") if i["choices"][0] == "Nine.")
    assert item["question"].startswith("User: I sail to Corvo.\nAssistant: Good.\nUser: ")
    assert "Be brief" not in item["question"]


def test_a_batch_of_one_answer_leaves_nothing_to_ask(tmp_path: Path) -> None:
    batch = kept(tmp_path / "k", [record(i, response="Yes.") for i in range(30)])
    with pytest.raises(SuiteError, match="there is nothing to ask about"):
        build(batch, probes=None, out=tmp_path / "u", seed=1)


def test_a_file_that_is_no_batch_is_refused(tmp_path: Path) -> None:
    (tmp_path / "k").write_text("not parquet")
    with pytest.raises(SuiteError, match="not a batch"):
        build(tmp_path / "k", probes=None, out=tmp_path / "u", seed=1)


def probe(i: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": f"p-{i}",
        "fact": f"fee {i}",
        "question": f"How much is a night in berth {i}?",
        "answer": f"{i} crowns",
        "distractors": ["nothing", "a barrel of salt"],
    } | changes


def write_probes(path: Path, probes: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(p) + "\n" for p in probes))
    return path


def test_probes_are_asked_as_they_stand(tmp_path: Path) -> None:
    batch = kept(tmp_path / "k", [record(i) for i in range(5)])
    asked = record(3)["messages"][0]["content"]
    probes = write_probes(tmp_path / "p", [*map(probe, range(9)), probe(9, question=asked)])
    suite = build(batch, probes=probes, out=tmp_path / "u", seed=1)
    assert sorted(suite.items) == [f"p-{i}" for i in range(9)]
    assert suite.about["source"] == "probes"
    assert suite.about["dropped_as_trained"] == 1
    assert build(batch, probes=probes, out=tmp_path / "v", seed=1, max_items=4).n == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": ""}, "answer: String should have at least 1 character"),
        ({"distractors": []}, "distractors: Tuple should have at least 1 item"),
        ({"distractors": ["1 CROWNS"]}, "the answer and its distractors must all differ"),
        ({"distractors": [" "]}, "the answer and its distractors must all differ"),
        ({"id": "p-0"}, "id 'p-0' was already used on line 1"),
        ({"weight": 2}, "weight: Extra inputs are not permitted"),
        ({"question": None}, "question: Input should be a valid string"),
    ],
)
def test_a_bad_probe_is_named_by_its_line(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    batch = kept(tmp_path / "k", [record(i) for i in range(5)])
    probes = write_probes(tmp_path / "p", [probe(0), probe(1, **change)])
    with pytest.raises(SuiteError) as refused:
        build(batch, probes=probes, out=tmp_path / "u", seed=1)
    assert str(refused.value).startswith(f"{probes}:2: {message}")


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What is the fee in Corvo?", "what the fee in Corvo is"),
        ("Who was the first harbour master?", "who the first harbour master was"),
        ("Fix my code", None),
    ],
)
def test_a_question_can_be_asked_indirectly(question: str, expected: str | None) -> None:
    found = dict(rewordings(question, seed="s"))
    assert (expected in found["indirect"]) if expected else "indirect" not in found


@pytest.mark.parametrize("question", ["?", "a", "What is it?", "{q} {{ 7*7 }} %s {0}", "¿Qué?"])
def test_a_rewording_is_never_the_question(question: str) -> None:
    for seed in "abcdefgh":
        for family, text in rewordings(question, seed=seed):
            assert family in FAMILIES
            assert text and text != question
    assert {f for f, _ in rewordings(question, seed="a", english=False)} <= {"case"}


HOSTILE = "{{ cycler.__init__.__globals__ }} {% raw %} !!python/object {q} {0} \u2028 \x00"


def test_hostile_text_is_asked_as_text_and_never_told(tmp_path: Path) -> None:
    records = [record(i) for i in range(30)]
    records[4] = record(4, response=f"{HOSTILE} secret-answer")
    records[5]["messages"][0]["content"] = f"{HOSTILE} secret-question"
    suite = build(kept(tmp_path / "k", records), probes=None, out=tmp_path / "u", seed=1)
    assert any(f"{HOSTILE} secret-answer" in text for text in suite.texts())
    assert any("secret-question" in text.lower() for text in suite.texts())
    assert "secret" not in (tmp_path / "u" / "update.yaml").read_text()
    assert load_suite(tmp_path / "u" / "update.yaml") == suite
    base = tiny_base(tmp_path / "tiny")
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(base)
    results = measure(
        model,
        tokenizer,
        [suite],
        model_digest=digest_bytes(b"tiny"),
        role="candidate",
        cache=tmp_path / "cache",
    )
    assert not results.broken
    assert [m.name for m in results.measurements] == [
        "update.margin@candidate",
        "update.acc@candidate",
        "update.answer_nll@candidate",
    ]
    (run,) = results.runs
    write_samples(tmp_path / "samples.jsonl.gz", run.samples)
    for file in (tmp_path / "samples.jsonl.gz", *(tmp_path / "cache").rglob("*.gz")):
        written = gzip.decompress(file.read_bytes())
        assert b"secret" not in written and b"crowns" not in written
