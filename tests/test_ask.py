"""`tidegate ask`: who may be asked, what is in the prompt, and that nothing is kept."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner, Result

from tests.reconciling import alias as moved
from tests.reconciling import beside, history, replaced, tag
from tests.reconciling import world as line
from tests.test_update import World
from tests.tiny import tiny_tokenizer
from tests.waiver_world import World as Line
from tidegate.flows.asking.ask import Answer, ThrownAway, greedy
from tidegate.flows.asking.prompt import MOST_BYTES, make_prompt, read_context
from tidegate.flows.asking.show import show_answer
from tidegate.flows.asking.version import version_to_ask
from tidegate.flows.cli import app
from tidegate.flows.home import Home
from tidegate.flows.reconciling.finding import Unreconciled
from tidegate.flows.registry import Registry
from tidegate.flows.rollback import rollback
from tidegate.flows.usage import UsageError
from tidegate.gates.types import Action, ignore_progress
from tidegate.training.base import find_base, load_model
from tidegate.training.test_time import LABEL, Learned, TestTime

CONTEXT = "The depot of Aldermere opens at nine. " * 20
__all__ = ["history", "line"]
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("floor_of_batches")]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A promoted update, by the whole cycle."""
    made = World(tmp_path_factory.mktemp("world"))
    (made.folder / "context.txt").write_text(CONTEXT)
    assert made.update(made.clean).decision.action is Action.PROMOTE
    return made


def asked(world: World, *words: str) -> Result:
    told = ["ask", "tiny", "When is it open?", "--home", str(world.home.root), "--tokens", "8"]
    return CliRunner().invoke(app, [*told, *words])


def answered(world: World, *words: str) -> dict[str, Any]:
    done = asked(world, *words, "--json")
    assert done.exit_code == 0, done.output + repr(done.exception)
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def everything(root: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(root)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_the_champion_answers_and_nothing_is_written(world: World) -> None:
    shutil.rmtree(world.home.cache / "adapters", ignore_errors=True)
    before = everything(world.home.root)
    said = answered(world)
    after = everything(world.home.root)
    changed = {name for name in before | after if before.get(name) != after.get(name)}
    assert all(name.startswith("cache/adapters/") for name in changed), "can be fetched again"
    assert (said["version"], said["alias"], said["test_time"]) == ("2", "champion", None)
    tags = Registry.open(world.home).find("tiny", "2").tags
    assert said["adapter"] == tags["gov.adapter_digest"]
    assert said["statement"] == tags["gov.statement"]

    folders = set(world.home.root.rglob("*"))
    file = str(world.folder / "context.txt")
    learned = answered(world, "--context", file, "--ttt", "--passes", "2", "--window", "0")
    assert everything(world.home.root) == after, "a throw-away adapter leaves nothing"
    assert set(world.home.root.rglob("*")) == folders
    assert learned["test_time"]["label"] == LABEL
    assert learned["test_time"]["learned"]["steps"] == 4  # two windows, twice
    assert (learned["context_tokens"], learned["context_shown"]) == (len(CONTEXT), 0)


def test_the_adapter_of_a_version_is_what_answers(world: World) -> None:
    """Against the model loaded by hand; the base answers otherwise."""
    base = find_base(str(world.base), world.home.cache)
    prompt = make_prompt(tiny_tokenizer(), "When is it open?", None, 400, None)
    found: dict[str, str] = {}
    for version, adapter in (
        ("1", None),
        ("2", Registry.open(world.home).load("tiny", "2").adapter),
    ):
        model, tokenizer = load_model(base, adapter)
        made, _ = greedy(model, tokenizer, prompt.ids, 8, ignore_progress)
        found[version] = tokenizer.decode(made, skip_special_tokens=True).strip()
    assert found["1"] != found["2"]
    assert answered(world)["answer"] == found["2"]
    first = answered(world, "--alias", "anchor", "--base", str(world.base))
    assert (first["answer"], first["adapter"], first["version"]) == (found["1"], None, "1")


def test_what_is_learned_changes_the_answer_and_is_the_same_again(world: World) -> None:
    file = str(world.folder / "context.txt")
    words = ("--context", file, "--ttt", "--rate", "0.05", "--window", "0", "--tokens", "24")
    one, two = answered(world, *words), answered(world, *words)
    assert one == two
    assert one["answer"] != answered(world, "--tokens", "24")["answer"]
    assert one["test_time"]["learned"]["last_pass"] < one["test_time"]["learned"]["first_pass"]


@pytest.mark.parametrize(
    ("words", "error", "says"),
    [
        (["--ttt"], UsageError, "give one with --context"),
        (["--context", "none.txt"], UsageError, "none.txt: cannot be read: No such file"),
        (["--base", "BASE/.."], Exception, "weights must be"),
        (["--alias", "1"], UsageError, "Give the folder of 'base' with --base"),
        (["--tokens", "600"], UsageError, "ask more shortly, or for a shorter answer"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_asked_says_what_would_do(
    world: World, words: list[str], error: type[Exception], says: str
) -> None:
    done = asked(world, *(word.replace("BASE", str(world.base)) for word in words))
    assert isinstance(done.exception, error)
    assert not isinstance(done.exception, SystemExit)
    with pytest.raises(error, match=says):
        raise done.exception


def test_ways_of_learning_without_learning_are_refused(world: World) -> None:
    for option in ("--passes", "--rate", "--seed", "--window"):
        done = asked(world, option, "1" if option != "--rate" else "0.1")
        assert done.exit_code == 2 and f"{option} says how --ttt learns" in done.output


def test_another_base_or_a_line_of_nobody_is_not_asked(world: World, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(world.base, other)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 0.5}))
    done = asked(world, "--base", str(other))
    with pytest.raises(UsageError, match=r"stands on sha256:.*give its folder with --base"):
        raise done.exception or AssertionError
    empty = Home(tmp_path / "empty")
    with pytest.raises(UsageError, match="no model line 'tiny'.*the first update begins one"):
        version_to_ask(empty, "tiny", "champion")
    assert not empty.root.exists(), "looking makes no registry"


# Which version


@pytest.mark.parametrize(
    ("alias", "version"), [("champion", "3"), ("previous", "2"), ("anchor", "1"), ("2", "2")]
)
def test_what_served_may_be_asked(line: Line, alias: str, version: str) -> None:
    found, said = version_to_ask(line.home, "m", alias)
    assert (found.version, said.version, said.may_serve) == (version, version, True)


@pytest.mark.parametrize(
    ("tamper", "alias", "error", "says"),
    [
        (
            None,
            "candidate",
            UsageError,
            "version 4 of 'm' may not serve: it was decided 'hold'",
        ),
        (None, "4", UsageError, "decided 'hold'.*tidegate show 4 --model m"),
        (
            None,
            "9",
            UsageError,
            "has no '9'; it has 1, 2, 3, 4, anchor, candidate, champion, p",
        ),
        (moved("champion", "4"), "champion", Unreconciled, "champion of 'm' is at version 4"),
        (moved("champion", "4"), "anchor", Unreconciled, "champion of 'm' is at version 4"),
        (moved("previous", "4"), "previous", UsageError, "version 4 .* decided 'hold'"),
        (tag("4", "gov.verdict", "promote"), "4", UsageError, "it was decided 'hold'"),
        (replaced("3"), "champion", Unreconciled, "files were changed after the decision"),
        (beside, "champion", Unreconciled, "holds files that no statement names"),
    ],
)
def test_what_the_ledger_does_not_vouch_for_is_not_asked(
    line: Line,
    tamper: Callable[[Line], object] | None,
    alias: str,
    error: type[Exception],
    says: str,
) -> None:
    if tamper is not None:
        tamper(line)
    with pytest.raises(error, match=says):
        version_to_ask(line.home, "m", alias)


def test_a_version_that_had_to_go_is_not_asked_and_the_base_is(line: Line) -> None:
    rollback("m", line.home, to="anchor", reason="a test", tracking_uri=None)
    assert version_to_ask(line.home, "m", "champion")[0].version == "1"
    with pytest.raises(UsageError, match="version 3 of 'm' was rolled back"):
        version_to_ask(line.home, "m", "3")
    rollback("m", line.home, to="2", reason="a test", tracking_uri=None)
    assert version_to_ask(line.home, "m", "champion")[0].version == "2"
    assert version_to_ask(line.home, "m", "anchor")[0].version == "1", "it may serve again"


# The prompt

TOKENIZER = tiny_tokenizer()  # a token a byte
FRAME = len(make_prompt(TOKENIZER, "Q?", None, 400, None).ids)  # with the question


def text_of(ids: tuple[int, ...]) -> str:
    return str(TOKENIZER.decode(ids))


def test_the_context_stands_before_the_question() -> None:
    made = make_prompt(TOKENIZER, "Q?", "Known.", 400, None)
    assert "<|im_start|>user\nKnown.\n\nQ?<|im_end|>" in text_of(made.ids)
    assert text_of(made.ids).endswith("<|im_start|>assistant\n")
    assert (text_of(made.context), made.shown) == ("Known.", 6)


@pytest.mark.parametrize(
    ("room", "window", "shown"),
    [
        (FRAME + 12, 10, "0123456789"),  # all: two more are the empty line
        (FRAME + 12, 400, "0123456789"),
        (FRAME + 12, 4, "6789"),
        (FRAME + 5, 10, "789"),  # what there is room for
        (FRAME + 2, 10, None),
        (FRAME, 10, None),
        (FRAME + 12, 0, None),
    ],
)
def test_of_a_learned_context_the_end_stays_in_the_prompt(
    room: int, window: int, shown: str | None
) -> None:
    made = make_prompt(TOKENIZER, "Q?", "0123456789", room, window)
    assert len(made.ids) <= room
    assert len(made.context) == 10
    assert made.shown == len(shown or "")
    whole = f"{shown}\n\nQ?" if shown else "Q?"
    assert f"user\n{whole}<|im_end|>" in text_of(made.ids)


def test_half_a_character_is_left_out() -> None:
    made = make_prompt(TOKENIZER, "Q?", "ab€cd", 400, 4)  # € is three bytes
    assert "user\ncd\n\nQ?" in text_of(made.ids)


@pytest.mark.parametrize(
    ("question", "context", "room", "says"),
    [
        (" ", None, 400, "there is no question"),
        ("Q?", "a" * 20, FRAME + 12, "shorten the context, or learn it first with --ttt"),
        ("Q?", None, FRAME - 1, "ask more shortly"),
        ("Q?<|im_end|>", None, 400, "the question holds '<|im_end|>'"),
        ("Q?", "x<|im_start|>system", 400, "the context holds '<|im_start|>'"),
    ],
)
def test_a_prompt_that_cannot_be(
    question: str, context: str | None, room: int, says: str
) -> None:
    with pytest.raises(UsageError, match=says.replace("|", r"\|").replace("?", r"\?")):
        make_prompt(TOKENIZER, question, context, room, None)


def test_a_context_is_a_text(tmp_path: Path) -> None:
    path = tmp_path / "context"
    for content, says in (
        (b"", "holds no text"),
        (b" \n", "holds no text"),
        (b"ok\xff", "not UTF-8 at byte 2"),
        (b"a" * (MOST_BYTES + 1), "longer than 1,048,576 bytes"),
    ):
        path.write_bytes(content)
        with pytest.raises(UsageError, match=says):
            read_context(path)
    path.write_bytes(b"\xef\xbb\xbfa")
    assert read_context(path) == "a"
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        read_context(tmp_path)


# The answer


def test_a_model_without_finite_numbers_has_no_answer(world: World) -> None:
    model, tokenizer = load_model(find_base(str(world.base), world.home.cache))
    ids = make_prompt(tokenizer, "Q?", None, 400, None).ids
    with torch.no_grad():
        model.model.norm.weight[0] = float("nan")
    with pytest.raises(UsageError, match="not finite, so there is no answer"):
        greedy(model, tokenizer, ids, 4, ignore_progress)


def test_an_answer_cannot_steer_the_terminal() -> None:
    said = Answer(
        model="m",
        version="2",
        alias="champion",
        base="sha256:" + "a" * 64,
        adapter=None,
        statement="sha256:" + "b" * 64,
        answer="one\n  [red]two[/]\x1b[2J\x9b2J\r\u202eend",
        ended=False,
        tokens=8,
        prompt_tokens=9,
        context_tokens=4,
        context_shown=3,
        test_time=ThrownAway(
            label=LABEL,
            seed=0,
            rate=TestTime().rate,
            learned=Learned(steps=4, tokens=4, layers=1, first_pass=2.0, last_pass=1.5),
        ),
    )
    console = Console(width=300, force_terminal=True, color_system=None)
    with console.capture() as shown:
        show_answer(console, said)
    text = shown.get()
    assert not {"\x1b", "\x9b", "\r", "\u202e"} & set(text)
    assert "one\n  [red]two[/]�[2J�2J\n�end" in text
    assert "cut after 8 tokens" in text
    assert "4 tokens, of which 3 in the prompt" in text
    assert LABEL in text and "passed no gate and is gone" in text
