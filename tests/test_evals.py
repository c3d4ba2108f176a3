"""Suites on a tiny real Llama, through lm-eval: what is measured, and what is refused."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from lm_eval.models.huggingface import HFLM
from peft import LoraConfig, PromptTuningConfig, get_peft_model

from tests.suites import ONE, choices, passages, run, tiny_model, write_suite
from tests.tiny import tiny_base
from tidegate.evals.harness import measure
from tidegate.evals.scorer import Request, Scorer, plant
from tidegate.evals.suite import (
    TASKS,
    Suite,
    SuiteError,
    find_suites,
)
from tidegate.gates.types import Progress

HOSTILE: list[dict[str, Any]] = [
    {
        "id": "h-1",
        "slice": "hostile",
        "question": "{{ 7 * 7 }} {% for x in y %} {{ cycler.__init__ }} {# gone #}",
        "choices": ["{{ 1/0 }}", "[1, 2]", "0"],
        "answer": 1,
    },
    {"id": "h-2", "slice": "hostile", "question": "3", "choices": ["7", "['x']"], "answer": 0},
]


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_base(tmp_path_factory.mktemp("evals") / "tiny")


@pytest.fixture
def tiny(base: Path) -> tuple[Any, Any]:
    return tiny_model(base)


def test_a_margin_is_per_token_that_lm_eval_scores(
    tiny: tuple[Any, Any], tmp_path: Path
) -> None:
    suite = write_suite(tmp_path / "s", "sums", choices())
    got = run(tiny, suite, tmp_path / "cache")
    margin, acc = got.measurements
    assert (margin.name, acc.name) == ("sums.margin@candidate", "sums.acc@candidate")
    assert margin.items == suite.order and sorted(margin.items) == sorted(suite.items)
    model, tokenizer = tiny
    for item in choices():
        i = margin.items.index(item["id"])
        prompt = tokenizer.apply_chat_template(
            [{"role": "user", "content": item["question"]}],
            tokenize=False,
            add_generation_prompt=True,
        )
        per_token = []
        for choice in item["choices"]:
            ids = torch.tensor([tokenizer.encode(prompt + choice)])
            logs = model(ids).logits[0].log_softmax(-1)
            n = len(tokenizer.encode(choice)) + 1  # and the template's last line break
            scored = [
                logs[j - 1, ids[0, j]].item() for j in range(len(ids[0]) - n, len(ids[0]))
            ]
            per_token.append(sum(scored) / n)
        expected = per_token[0] - max(per_token[1:])
        assert margin.values[i] == pytest.approx(expected, abs=1e-4)
        assert acc.values[i] == float(expected > 0)
    assert margin.value == pytest.approx(math.fsum(margin.values) / 4)
    assert margin.low is not None and margin.high is not None
    assert margin.low < margin.value < margin.high
    slices = [{"0": "even", "1": "odd"}[str(int(item[2:]) % 2)] for item in margin.items]
    assert margin.slices == {"slice": tuple(slices)}
    assert [sample.slice for sample in got.samples] == slices
    assert margin.planned == 4


def test_text_is_measured_in_nats_per_token(tiny: tuple[Any, Any], tmp_path: Path) -> None:
    got = run(tiny, write_suite(tmp_path / "s", "prose", passages()), tmp_path / "cache")
    (nll,) = got.measurements
    model, tokenizer = tiny
    texts = {item["id"]: item["text"] for item in passages()}
    for name, value in zip(nll.items, nll.values, strict=True):
        ids = torch.tensor([[tokenizer.bos_token_id, *tokenizer.encode(texts[name])]])
        loss = torch.nn.functional.cross_entropy(model(ids).logits[0, :-1], ids[0, 1:])
        assert value == pytest.approx(loss.item(), abs=1e-4)


@pytest.mark.parametrize("tree_tokens", [64, 4096])
@pytest.mark.parametrize("adapter", [False, True])
def test_trees_score_as_lm_eval_does(
    tiny: tuple[Any, Any], tmp_path: Path, tree_tokens: int, adapter: bool
) -> None:
    model, tokenizer = tiny
    if adapter:
        torch.manual_seed(1)
        config = LoraConfig(
            r=4, target_modules=["q_proj", "down_proj"], init_lora_weights=False
        )
        model = get_peft_model(model, config)
    ours = Scorer(model, tokenizer, tree_tokens=tree_tokens)
    stock = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=16)
    asked: list[Any] = []
    for suite in (write_suite(tmp_path, "a", choices(12)), write_suite(tmp_path, "h", HOSTILE)):
        asked += built(suite, ours).instances
    texts = built(write_suite(tmp_path, "t", passages(5)), ours).instances
    pairs = zip(
        ours.loglikelihood(asked), stock.loglikelihood(asked, disable_tqdm=True), strict=True
    )
    assert ours.how == f"tree of {tree_tokens} tokens"
    for (mine, my_greedy), (theirs, their_greedy) in pairs:
        assert mine == pytest.approx(theirs, abs=1e-4)
        assert my_greedy == their_greedy
    assert ours.loglikelihood_rolling(texts) == pytest.approx(
        stock.loglikelihood_rolling(texts, disable_tqdm=True), abs=1e-3
    )
    rows = sum(len(tokenizer.encode("".join(request.args))) for request in asked + texts)
    assert ours.forwarded < rows / 1.5


def built(suite: Suite, scorer: Scorer) -> Any:
    from lm_eval.tasks import TaskManager

    task = TaskManager(include_defaults=False).load([str(suite.path)])["tasks"][suite.task]
    task.build_all_requests(
        apply_chat_template=True,
        fewshot_as_multiturn=True,
        chat_template=scorer.apply_chat_template,
    )
    return task


def test_a_model_that_takes_no_tree_is_scored_in_rows(
    tiny: tuple[Any, Any], tmp_path: Path
) -> None:
    model, tokenizer = tiny
    config = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
    prompted = get_peft_model(model, config)
    assert Scorer(prompted, tokenizer).how == "16 rows"
    suite = write_suite(tmp_path / "s", "sums", choices())
    got = run((prompted, tokenizer), suite, tmp_path / "cache")
    assert not got.broken and got.tokens > 0


def test_a_tree_holds_what_is_shared_once() -> None:
    asked: list[Request] = [
        (None, [1, 2, 3], [4, 5]),
        (None, [1, 2, 3], [4, 6]),
        (None, [1, 2, 7], [8]),
    ]
    (tree,) = plant(asked, 100)
    assert tree.tokens == [1, 2, 3, 4, 7]
    assert tree.depths == [0, 1, 2, 3, 2]
    assert [(r.number, r.nodes, r.targets) for r in tree.requests] == [
        (0, [2, 3], [4, 5]),
        (1, [2, 3], [4, 6]),
        (2, [4], [8]),
    ]
    sees = tree.mask(torch.float32)[0, 0].eq(0).tolist()
    assert sees[3] == [True, True, True, True, False]
    assert sees[4] == [True, True, False, False, True]
    assert [len(t.tokens) for t in plant(asked, 2)] == [4, 3]


def test_what_an_item_says_is_never_a_template(tiny: tuple[Any, Any], tmp_path: Path) -> None:
    suite = write_suite(tmp_path, "hostile", HOSTILE)
    arguments = [r.args for r in built(suite, Scorer(*tiny)).instances]
    expected = [(i["question"], c) for i in HOSTILE for c in i["choices"]]
    assert len(arguments) == len(expected)
    for (context, continuation), (question, choice) in zip(arguments, expected, strict=True):
        assert f"<|im_start|>user\n{question}<|im_end|>" in context
        assert continuation == choice
    assert not run(tiny, suite, tmp_path / "cache").broken


def test_a_model_with_a_nan_has_no_numbers(tiny: tuple[Any, Any], tmp_path: Path) -> None:
    model, _ = tiny
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight[0, 0] = float("nan")
    suites = [
        write_suite(tmp_path / "s", "sums", choices()),
        write_suite(tmp_path / "s", "prose", passages()),
    ]
    results = measure(*tiny, suites, model_digest=ONE, role="candidate", cache=tmp_path)
    assert results.measurements == ()
    assert [b.name for b in results.broken] == [
        "sums.margin@candidate",
        "sums.acc@candidate",
        "prose.nll@candidate",
    ]
    assert all("nan" in b.reason for b in results.broken)
    assert not list(tmp_path.glob("evals/*")), "what failed must not be kept"


def test_a_model_that_cannot_be_asked_has_no_numbers(
    tiny: tuple[Any, Any], tmp_path: Path
) -> None:
    suite = write_suite(tmp_path / "s", "sums", choices())
    got = run((torch.nn.Linear(2, 2), tiny[1]), suite, tmp_path)
    assert [b.name for b in got.broken] == ["sums.margin@candidate", "sums.acc@candidate"]
    assert got.broken[0].reason.startswith("AttributeError: ")


@pytest.mark.parametrize("chunk", [2, 24])
def test_items_that_vanish_break_the_suite(
    tiny: tuple[Any, Any], tmp_path: Path, chunk: int
) -> None:
    suite = write_suite(tmp_path / "s", "sums", choices())
    lines = suite.items_path.read_text().splitlines(keepends=True)
    suite.items_path.write_text("".join(lines[:-1]))
    got = run(tiny, suite, tmp_path / "cache", chunk=chunk)
    assert not got.measurements
    assert "the task has 3 items, the suite 4; q-3 is missing" in got.broken[0].reason


def test_an_item_too_long_for_the_model_breaks_its_suite_only(
    tiny: tuple[Any, Any], tmp_path: Path
) -> None:
    long = [*choices(), {**choices()[0], "id": "long", "question": "why? " * 200}]
    suites = [
        write_suite(tmp_path / "s", "long", long),
        write_suite(tmp_path / "s", "sums", choices()),
    ]
    results = measure(*tiny, suites, model_digest=ONE, role="champion", cache=tmp_path)
    assert "the model reads 512" in results.broken[0].reason
    assert [m.name for m in results.measurements] == [
        "sums.margin@champion",
        "sums.acc@champion",
    ]


def test_progress_counts_every_answer(tiny: tuple[Any, Any], tmp_path: Path) -> None:
    seen: list[Progress] = []
    suite = write_suite(tmp_path / "s", "sums", choices(20))
    measure(
        *tiny, [suite], model_digest=ONE, role="anchor", cache=tmp_path, progress=seen.append
    )
    assert seen[0] == Progress("measure sums of the anchor", 0, 60, "answers")
    assert seen[-1].done == 60


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": 3}, ":2: row: Value error, answer 3 names none of 3 choices"),
        ({"choices": ["a", "a"]}, ":2: row: Value error, two choices are the same"),
        ({"choices": ["a", " b"]}, ":2: row: Value error, a choice is empty, or begins"),
        ({"choices": ["a"]}, ":2: choices: Tuple should have at least 2 items"),
        ({"id": "q-0"}, ":2: id 'q-0' was already used on line 1"),
        ({"extra": 1}, ":2: extra: Extra inputs are not permitted"),
        ({"question": 7}, ":2: question: Input should be a valid string"),
        ({"tags": {"slice": "x"}}, ":2: row: Value error, a tag is named 'slice'"),
        ({"tags": {"x": 1}}, ":2: tags.x: Input should be a valid string"),
        ({"tags": {"x": "y"}}, ":2: the tags are x; the items before have none"),
    ],
)
def test_a_bad_item_is_named_by_its_line(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    items = choices(3)
    items[1] |= change
    with pytest.raises(SuiteError) as refused:
        write_suite(tmp_path, "sums", items)
    assert f"{tmp_path}/sums.jsonl{message}" in str(refused.value)


def test_the_shipped_suites_can_be_read() -> None:
    suites = {suite.name: suite for suite in find_suites()}
    assert set(suites) >= {"refusal", "over_refusal", "sycophancy", "honesty", "knowledge"}
    for suite in suites.values():
        assert suite.path.stem == suite.name
        assert suite.n >= 80
        assert len(suite.texts()) >= suite.n
    assert [s.name for s in find_suites(["knowledge", "refusal"])] == ["knowledge", "refusal"]
    with pytest.raises(
        SuiteError, match="there is no suite 'refusals'; did you mean 'refusal'"
    ):
        find_suites(["refusals"])


@pytest.mark.slow
@pytest.mark.parametrize("suite", ["refusal", "general_text"])
def test_a_shipped_suite_runs_from_lm_evals_own_command(
    base: Path, tmp_path: Path, suite: str
) -> None:
    command = [
        *(sys.executable, "-m", "lm_eval", "run", "--model", "hf"),
        *("--model_args", f"pretrained={base},dtype=float32", "--device", "cpu"),
        *("--include_path", str(TASKS), "--tasks", f"tidegate_{suite}"),
        *("--apply_chat_template", "--limit", "6", "--batch_size", "4"),
        *("--output_path", str(tmp_path / "out"), "--log_samples"),
    ]
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    subprocess.run(command, cwd=tmp_path, env=os.environ | offline, check=True)
    (logged,) = (tmp_path / "out").rglob(f"samples_tidegate_{suite}_*.jsonl")
    ids = [json.loads(line)["doc"]["id"] for line in logged.read_text().splitlines()]
    assert ids == list(find_suites([suite])[0].items[:6])
