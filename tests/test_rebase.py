"""A chain of two updates on tiny real models: repeated alike, on another base, and stopped."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.drops import row, rows, write
from tests.test_update import POLICY, World
from tests.tiny import tiny_base
from tidegate.evals.harness import SuiteRun
from tidegate.flows.asked import FILE
from tidegate.flows.cli import main
from tidegate.flows.home import Home
from tidegate.flows.intake.connectors.rows import IngestError
from tidegate.flows.ledger import Ledger
from tidegate.flows.rebasing.plan import make_plan
from tidegate.flows.rebasing.rebase import RebaseResult, rebase
from tidegate.flows.rebasing.survival import Paired, outcome, told
from tidegate.flows.registry import Registry
from tidegate.flows.repeating import Again
from tidegate.flows.update import update
from tidegate.flows.usage import UsageError
from tidegate.gates.types import Action, Broken, Measurement
from tidegate.training.base import BaseError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("floor_of_batches", "one_engine")]

CHILD = """
import json, os, signal, sys
from pathlib import Path
from tidegate.flows.environment import prepare
from tidegate.flows.home import Home
given = json.loads(sys.argv[1])
prepare(Home(Path(given["home"])))
from tidegate.flows import progress
from tidegate.flows.rebasing.rebase import rebase
seen = []
def report(now):
    seen.append(now.stage)
    if "learn update 2 of 2" in seen and now.stage == "train":
        os.kill(os.getpid(), signal.SIGKILL)
progress._report.set(report)
rebase(**given)
"""


AUTHOR = row(900, "Where is the Zanzibarquokka key?", "It is under the mat.", user="mallory")
OTHER = (
    ("Who repairs bicycles here?", "Marta repairs bicycles on the second floor."),
    ("What colour is the new van?", "Our van was painted orange in spring."),
    ("How tall is the big shelf?", "That shelf measures two metres forty."),
    ("Where do parcels wait?", "Parcels wait behind the green counter."),
)


def no_loss(folder: Path) -> Path:
    """A policy that asks about the batch, and for no gain."""
    path = folder / "no_loss.yaml"
    lines = [line for line in POLICY.splitlines() if "gate: learned" not in line]
    path.write_text("\n".join(lines) + "\n")
    return path


class Line:
    """Version 2 learned one drop, version 3 another and some of the first again.

    The second had to gain something.
    """

    def __init__(self, folder: Path) -> None:
        self.world = World(folder)
        self.home = self.world.home
        self.first = write(folder / "first.jsonl", [*rows(47), AUTHOR])
        said = [
            row(n, f"{OTHER[n % 4][0]} ({n})", f"{OTHER[n % 4][1]} Note {n}.", id=f"n-{n}")
            for n in range(40)
        ]
        second = write(folder / "second.jsonl", said)
        for drop, changes in (
            (self.first, {"policy": str(no_loss(folder))}),
            (second, {}),
        ):
            method = "lora" if changes else "replay"
            given = self.world.arguments(drop, gain="0.15", method=method) | changes
            result = update(**given)
            assert result.decision.action is Action.PROMOTE, result.decision

    def rebase(self, base: Path, to: str) -> RebaseResult:
        done: RebaseResult = rebase(**self.arguments(base, to))
        return done

    def arguments(self, base: Path, to: str) -> dict[str, Any]:
        home = str(self.home.root)
        return {"model": "tiny", "base": str(base), "home": home, "to": to, "who": "rita"}

    def adapters(self, model: str) -> list[str | None]:
        versions = Registry.open(self.home).versions(model)
        return [version.tags.get("gov.adapter_digest") for version in versions]


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    return Line(tmp_path_factory.mktemp("line"))


def test_on_its_own_base_the_chain_is_learned_to_the_same_bytes(line: Line) -> None:
    done = line.rebase(line.world.base, "again")
    assert done.complete and done.exit_code == 0
    assert line.adapters("again") == line.adapters("tiny")
    assert [one.same_rows for one in done.steps] == [True, True]
    for told_ in done.survived:
        assert told_.now == told_.before and told_.difference is not None
        assert told_.difference.mean == 0
    before = len(Ledger(line.home.ledger).read())
    assert line.rebase(line.world.base, "again").statement == done.statement
    assert len(Ledger(line.home.ledger).read()) == before


def test_killed_on_another_base_it_goes_on_and_leaves_the_old_line_alone(line: Line) -> None:
    base = tiny_base(line.world.folder / "other", seed=1)
    was, adapters = line.world.aliases, line.adapters("tiny")
    command = [sys.executable, "-c", CHILD, json.dumps(line.arguments(base, "moved"))]
    killed = subprocess.run(command, env=os.environ.copy(), check=False)
    assert killed.returncode == -9
    assert Registry.open(line.home).aliases("moved")["champion"] == "2"
    plan, _ = make_plan(line.home, "tiny", str(base), "moved")
    assert [step.done for step in plan.steps] == ["2", None]
    done = line.rebase(base, "moved")
    assert [(one.of, one.version) for one in done.steps] == [("2", "2"), ("3", "3")]
    assert done.complete and done.now == "3"
    assert (line.world.aliases, line.adapters("tiny")) == (was, adapters)
    assert line.adapters("moved")[1:] != adapters[1:]
    entries = Ledger(line.home.ledger).read()
    ours = [e["predicate"] for _, e in entries if e["predicate"]["model"] == "moved"]
    assert [one["act"] for one in ours] == ["bless", "decide", "decide", "rebase"]
    about = ours[-1]["about"]
    assert about["from"]["model"] == "tiny" and about["complete"]
    assert {one["outcome"] for one in about["survived"]} == {t.outcome for t in done.survived}
    for told_ in done.survived:  # learned on the new base: the intervals are about real gains
        assert told_.now is not None and told_.now.n >= 8
        assert told_.difference is not None
        assert told_.outcome == outcome(told_.now, told_.difference)


def test_a_step_that_a_gate_refuses_ends_it_and_the_version_before_serves(line: Line) -> None:
    base = stiff(line.world.folder / "stiff")
    done = line.rebase(base, "stiff")
    assert [one.action for one in done.steps] == [Action.PROMOTE, Action.HOLD], done.steps
    assert "learned" in done.steps[1].reason
    assert (done.complete, done.exit_code, done.now) == (False, 2, "2")
    assert Registry.open(line.home).aliases("stiff")["champion"] == "2"
    assert [one.outcome for one in done.survived][1] == "not learned"
    _, last = Ledger(line.home.ledger).read()[-1]
    assert last["predicate"]["about"]["complete"] is False


def test_what_cannot_be_rebased_is_refused_before_any_work(line: Line) -> None:
    own, home = str(line.world.base), line.home
    if "stiff" not in Ledger(home.ledger).model_lines():
        line.rebase(stiff(line.world.folder / "stiff"), "stiff")
    with pytest.raises(
        UsageError, match="something else"
    ):  # it is longer than the chain of that
        make_plan(home, "stiff", own, "tiny")
    with pytest.raises(UsageError, match="another line"):
        make_plan(home, "tiny", own, "tiny")
    with pytest.raises(UsageError, match="stands on the base"):
        make_plan(home, "tiny", own, "stiff")
    with pytest.raises(UsageError, match="known: .*tiny"):
        make_plan(home, "nobody", own, None)
    with pytest.raises(BaseError, match="no base"):
        make_plan(home, "tiny", "nowhere", None)
    with pytest.raises(UsageError, match="cannot name"):
        make_plan(home, "tiny", own, "../x")


def test_the_plan_names_what_is_gone_before_any_work(line: Line, tmp_path: Path) -> None:
    batch = line.home.batch(chain_of(line)[0].batch)
    batch.rename(tmp_path / "away")
    try:
        with pytest.raises(IngestError, match="is not there"):
            make_plan(line.home, "tiny", str(line.world.base), "new")
    finally:
        (tmp_path / "away").rename(batch)
    (asked,) = line.home.updates.glob(f"{chain_of(line)[-1].update_id}/{FILE}")
    said = asked.read_text()
    asked.write_text(json.dumps({**json.loads(said), "probes": str(tmp_path / "gone.jsonl")}))
    try:
        with pytest.raises(UsageError, match=r"gone.jsonl: the questions .* are gone"):
            make_plan(line.home, "tiny", str(line.world.base), "new")
    finally:
        asked.write_text(said)
    with pytest.raises(UsageError, match="known: none yet"):
        make_plan(Home(tmp_path / "empty"), "tiny", str(line.world.base), None)


def test_the_command_line_shows_the_plan(
    line: Line, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TIDEGATE_HOME", str(line.home.root))
    words = ["rebase", "--model", "tiny", "--base", str(line.world.base), "--plan", "--json"]
    monkeypatch.setattr(sys, "argv", ["tidegate", *words])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["to"] == "tiny-base"
    assert [step["again"]["version"] for step in plan["steps"]] == ["2", "3"]


def chain_of(line: Line) -> list[Again]:
    return [
        step.again for step in make_plan(line.home, "tiny", str(line.world.base), "n")[0].steps
    ]


def pair(low: float | None, high: float | None) -> Paired:
    return Paired(mean=0.0, low=low, high=high, n=9, method="by hand")


@pytest.mark.parametrize(
    ("now", "difference", "says"),
    [
        (pair(0.1, 0.2), pair(-0.2, 0.1), "survived"),
        (pair(0.1, 0.2), pair(-0.2, -0.1), "weakened"),
        (pair(0.1, None), pair(-0.2, None), "survived"),
        (pair(0.0, 0.2), pair(0.1, 0.2), "undecided"),
        (pair(None, 0.2), pair(0.1, 0.2), "undecided"),
        (pair(-0.2, 0.0), pair(-0.1, 0.2), "lost"),
    ],
)
def test_the_ends_of_the_intervals_say_what_survived(
    now: Paired, difference: Paired, says: str
) -> None:
    assert outcome(now, difference) == says


def answered(margin: float, items: int = 12, name: str = "i", broken: str = "") -> SuiteRun:
    ids = tuple(f"{name}{k}" for k in range(items))
    measured = [
        Measurement(name=f"update.{metric}@candidate", value=v, n=items, items=ids, values=(v,) * items)
        for metric, v in (("margin", margin), ("acc", float(margin > 0)))
    ]  # fmt: skip
    return SuiteRun(
        suite="update", version=1, role="candidate", items=items, measurements=tuple(measured),
        broken=(Broken(name="update.margin@candidate", reason=broken),) if broken else (),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("rebased", "says", "why"),
    [
        (answered(1.0), "survived", ""),
        (answered(-1.0), "lost", ""),
        (answered(-0.5), "weakened", ""),
        (answered(1.0, broken="out of memory"), "undecided", "out of memory"),
        (answered(1.0, name="j"), "undecided", "different items"),
        (answered(1.0, items=5), "undecided", "different items"),
    ],
)
def test_four_models_answers_become_one_word(rebased: SuiteRun, says: str, why: str) -> None:
    runs = {
        "old base": answered(-1.0),
        "old champion": answered(2.0),
        "new base": answered(-1.0),
    }
    found = told("2", {**runs, "rebased champion": rebased})
    assert found.outcome == says and why in found.reason


def stiff(folder: Path) -> Path:
    """A base whose logits no adapter of these recipes moves far."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    loader: Any = AutoModelForCausalLM
    source = tiny_base(folder / "soft", seed=4)
    model = loader.from_pretrained(source)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(0.1)
    model.save_pretrained(folder / "made")
    tokenizer: Any = AutoTokenizer
    tokenizer.from_pretrained(source).save_pretrained(folder / "made")
    return folder / "made"
