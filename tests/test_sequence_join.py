"""Results of several runs in one: what goes together, and what is refused and why."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.sequence_results import DIGEST, GOOD, LORA, benchmark, result
from tidegate.flows.sequencing.join import join
from tidegate.flows.sequencing.result import ArmResult, Cost
from tidegate.flows.sequencing.show import write
from tidegate.flows.usage import UsageError

ROOT = Path(__file__).parents[1]
OTHER = f"sha256:{'1' * 64}"
REPLAY = result("replay", 0, (1.0, -1.0), (0.8, 1.0), 0.3)


def written(folder: Path, *results: ArmResult, **changed: Any) -> Path:
    """As `write` leaves it, without the pictures, which take their time."""
    document = benchmark(*results, **changed).model_dump(mode="json")
    folder.mkdir()
    path = folder / "results.json"
    path.write_text(json.dumps({**document, "summary": {}, "claims": {}}))
    return path


def with_cost(found: ArmResult, cost: Cost) -> ArmResult:
    last = found.last.model_copy(update={"cost": cost})
    return found.model_copy(update={"states": (*found.states[:-1], last)})


def test_arms_and_seeds_of_several_runs_come_into_one_table(tmp_path: Path) -> None:
    a = written(tmp_path / "a", *LORA, *GOOD)
    later = {"first": 0, "seeds": 1, "epochs": 3, "texts": 12}
    failed = {"sparse, seed 0": "no slots left"}
    b = written(
        tmp_path / "b", GOOD[0], REPLAY, settings=later, code=OTHER, revision="x", failed=failed
    )
    found = join([a, b])
    pairs = [(r.arm, r.seed) for r in found.results]
    assert pairs == [
        ("lora", 0), ("lora", 1), ("anchored", 0), ("anchored", 1), ("replay", 0)
    ]  # fmt: skip
    assert found.settings == {"epochs": 3, "texts": 12}
    assert set(found.recipes) == {"lora", "anchored", "replay"}
    assert (found.code, found.revision, found.environment) == (None, None, DIGEST)
    assert [run.code for run in found.joined] == [DIGEST, OTHER]
    assert found.joined[1].seeds == {"anchored": (0,), "replay": (0,)}
    assert found.failed == {f"{b}: sparse, seed 0": "no slots left"}
    text = write(found, tmp_path / "out")
    assert "| lora | 2 |" in text and "| replay | 1 |" in text
    assert "code that differs" in text and "their means do not compare" in text
    assert f"{b}: x (sha256:1" in text and "sparse, seed 0: no slots left" in text


def test_what_was_joined_can_be_joined_again(tmp_path: Path) -> None:
    a = written(tmp_path / "a", *LORA)
    b = written(tmp_path / "b", *GOOD)
    write(join([a, b]), tmp_path / "ab")
    c = written(tmp_path / "c", REPLAY)
    found = join([tmp_path / "ab/results.json", c])
    assert [run.file for run in found.joined] == [str(a), str(b), str(c)]
    assert found.results == join([a, b, c]).results and found.code == DIGEST


def test_one_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    made = benchmark(*LORA, *GOOD)
    write(made, tmp_path)
    assert join([tmp_path / "results.json"]) == made


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"base": "large"}, "base is 'tiny' and 'large'"),
        ({"base_digest": OTHER}, "base_digest is 'sha256:0"),
        ({"data": "3 updates"}, "data is '2 updates of 10 facts, invented' and '3 updates'"),
        ({"settings": {"epochs": 4, "texts": 12}}, "epochs is 3 and 4"),
        ({"settings": {"epochs": 3}}, "texts is 12 and not given"),
        (
            {"settings": {"epochs": 3, "texts": 12, "learning_rate": 0.1}},
            "learning_rate is not given and 0.1",
        ),
        ({"machine": {"device": "cuda"}}, "machine.device is 'cpu' and 'cuda'"),
        (
            {"recipes": {"lora": {"method": "lora", "learning_rate": 0.1}}},
            "recipes.lora.learning_rate is 0.001 and 0.1",
        ),
    ],
)
def test_runs_of_other_settings_are_refused(
    tmp_path: Path, changed: dict[str, Any], said: str
) -> None:
    a = written(tmp_path / "a", *LORA)
    b = written(tmp_path / "b", *GOOD)
    c = written(tmp_path / "c", REPLAY, **changed)
    with pytest.raises(UsageError) as no:
        join([a, b, c])
    assert str(no.value).startswith(f"{a} and {c}: {said}")


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (result("lora", 0, (1.0, -1.0), (0.5, 1.1), 0.2), "lora, seed 0, has other numbers"),
        (with_cost(LORA[0], Cost(seconds=2.0, tokens=101, steps=4)), "lora, seed 0, has other"),
        (REPLAY.model_copy(update={"data": OTHER}), "seed 0 has other facts"),
        (
            REPLAY.model_copy(update={"states": (LORA[0].last, *REPLAY.states[1:])}),
            "the untrained base answers them otherwise",
        ),
    ],
    ids=["margins", "tokens", "facts", "origin"],
)
def test_the_same_that_was_measured_otherwise_is_refused(
    tmp_path: Path, found: ArmResult, said: str
) -> None:
    a, b = written(tmp_path / "a", *LORA), written(tmp_path / "b", found)
    with pytest.raises(UsageError) as no:
        join([a, b])
    assert str(no.value).startswith(f"{a} and {b}: ") and said in str(no.value)


def test_seconds_alone_may_differ_and_those_named_first_are_kept(tmp_path: Path) -> None:
    slow = with_cost(LORA[0], Cost(seconds=9.0, tokens=100, steps=4))
    a, b = written(tmp_path / "a", *LORA), written(tmp_path / "b", slow, *GOOD)
    assert join([a, b]).results[0] == LORA[0]
    assert join([b, a]).results[0] == slow


@pytest.mark.parametrize(
    "content",
    [None, "", "[]", "{}", '{"base": NaN}'],
    ids=["none", "empty", "list", "bare", "NaN"],
)
def test_what_is_no_result_is_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "results.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError, match=r"results\.json: is no results.json of a benchmark"):
        join([path])


def test_no_file_is_nothing_to_join() -> None:
    with pytest.raises(UsageError, match="no file"):
        join([])


def script(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(ROOT / "infra/bench_sequence.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_script_joins_what_was_measured_and_makes_claims_of_an_arm(tmp_path: Path) -> None:
    a = written(tmp_path / "a", *LORA)
    b = written(tmp_path / "b", *GOOD, REPLAY)
    out, home = tmp_path / "out", tmp_path / "home"
    files = ("--home", home, "--from", a, b)
    done = script(*files, "--out", out, "--claims", "replay")
    assert done.returncode == 0, done.stderr
    assert "the learning of replay as a share of that of lora: 1.00" in done.stdout
    document = json.loads((out / "results.json").read_text())
    assert len(document["joined"]) == 2 and len(document["results"]) == 5
    assert document["claims"]["cost"] == []
    for name in ("tradeoff", "retention"):
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    before = a.read_bytes()
    for more, code, said in (
        (("--out", tmp_path / "a"), 3, "would overwrite"),
        (("--out", out, "--claims", "sparse"), 3, "claims cannot be made of 'sparse'"),
        (("--out", out, "--arms", "lora"), 2, "takes no --arms"),
    ):
        done = script(*files, *more)
        assert done.returncode == code and said in done.stderr
    assert a.read_bytes() == before
