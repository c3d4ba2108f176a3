"""Two updates become one on a tiny real model: held, promoted, and an erasure that is shorter."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.test_rebase import Line as Chain
from tests.test_rebase import no_loss
from tidegate.flows.cli import main
from tidegate.flows.consolidating.consolidate import consolidate, make_plan
from tidegate.flows.consolidating.union import union
from tidegate.flows.erasing.forget import forget, plan_of, wanted_of
from tidegate.flows.learned import learned_before, parts_of
from tidegate.flows.ledger import Ledger
from tidegate.flows.line import open_line
from tidegate.flows.one_update import UpdateResult
from tidegate.flows.tracing.steps import Step, chain, read_steps
from tidegate.flows.update import update
from tidegate.flows.usage import UsageError
from tidegate.gates.types import Action

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("floor_of_batches")]

ANCHORS = (
    "anchors: {rows: 8, share: 0.5, weight: 1.0, top_k: 20, max_new_tokens: 8, "
    "temperature: 1.0, top_p: 0.9}\n"
)


class Line(Chain):
    """The chain merged into one: first by a policy that asks for a gain, then by another."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.made = [step.adapter for step in self.chain]
        self.batches, self.past = self.lineage
        self.recipe = folder / "distill.yaml"
        text = (folder / "lora.yaml").read_text().replace("method: lora", "method: distill")
        self.recipe.write_text(text.replace("epochs: 3", "epochs: 6") + ANCHORS)
        # The recorded policy asks for a gain over the champion, which nothing merged can have.
        self.held = self.consolidate()
        self.policy = no_loss(folder)
        self.promoted = self.consolidate(self.policy)

    def consolidate(self, policy: Path | None = None) -> UpdateResult:
        given = {"policy": str(policy) if policy else None, "recipe": str(self.recipe)}
        result: UpdateResult = consolidate(model="tiny", home=str(self.home.root), **given)
        return result

    @property
    def chain(self) -> tuple[Step, ...]:
        return chain(read_steps(self.home), "tiny", self.world.aliases["champion"])

    @property
    def lineage(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        line = open_line("tiny", str(self.world.base), self.home)
        return line.lineage(), line.past_updates()

    def statement(self, result: UpdateResult) -> dict[str, Any]:
        return dict(Ledger(self.home.ledger).read())[result.statement]


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    return Line(tmp_path_factory.mktemp("line"))


def test_a_policy_that_asks_for_a_gain_holds_it(line: Line) -> None:
    assert line.held.decision.action is Action.HOLD, line.held.decision
    stopped = [r.title for r in line.held.decision.rulings if r.action is not Action.PROMOTE]
    assert stopped == ["learned(update.answer_nll)"]


def test_promoted_it_descends_from_the_version_before_and_says_who_taught_it(
    line: Line,
) -> None:
    assert line.promoted.decision.action is Action.PROMOTE, line.promoted.decision
    record = line.statement(line.promoted)
    about = record["predicate"]["about"]
    assert (about["parent"], about["continues"], about["merged"]) == ("3", "1", ["2", "3"])
    named = {s["name"]: f"sha256:{s['digest']['sha256']}" for s in record["subject"]}
    assert named["teacher"] == line.made[-1] != named["adapter"]
    documents = line.home.updates / line.promoted.update_id / "documents"
    assert "taught by version 3" in (documents / "README.md").read_text()
    assert [(s.version, s.parent, s.teacher) for s in line.chain] == [
        (line.promoted.version, "1", "3")
    ]


def test_the_student_answers_about_the_batches_as_the_teacher_does(line: Line) -> None:
    import gzip

    path = line.home.updates / line.promoted.update_id / "evidence" / "evidence_model.json.gz"
    found = {m["name"]: m["value"] for m in json.loads(gzip.decompress(path.read_bytes()))["measurements"]}  # fmt: skip
    anchor, champion, candidate = (
        found[f"update.answer_nll@{who}"] for who in ("anchor", "champion", "candidate")
    )
    assert champion < anchor
    assert abs(candidate - champion) < 0.5 * (anchor - champion)


def test_what_the_line_learned_is_what_it_was(line: Line) -> None:
    """For replay, for the questions of no_forgetting, and for drops that come a second time."""
    assert line.lineage == (line.batches, line.past)
    again = update(**line.world.arguments(line.first))
    assert again.repeated and again.version == "2"
    assert line.consolidate(line.policy).statement == line.promoted.statement
    plan = make_plan(line.home, "tiny")
    assert plan.done == line.promoted.update_id


def test_its_rows_are_not_judged_as_if_they_came_a_second_time(line: Line) -> None:
    steps = read_steps(line.home)
    merged = [steps["tiny", version] for version in ("2", "3")]
    batch = union(line.home, merged)
    assert batch.rows == 88 and batch.digest == line.chain[0].batch
    assert set(parts_of(line.home, batch.digest)) == {step.batch for step in merged}
    assert not learned_before(line.home, batch.digest).by_author
    with pytest.raises(UsageError, match="no model line"):
        make_plan(line.home, "nobody")


def test_the_command_line_says_that_it_is_done(
    line: Line, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TIDEGATE_HOME", str(line.home.root))
    words = ["consolidate", "--model", "tiny", "--plan", "--json"]
    monkeypatch.setattr(sys, "argv", ["tidegate", *words])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0
    assert json.loads(capsys.readouterr().out)["done"] == line.promoted.update_id


def test_an_erasure_repeats_one_update_without_the_teacher_who_knew(line: Line) -> None:
    wanted = wanted_of(line.home, [], ["mallory"])
    (reached,) = plan_of(line.home, wanted, None, None).lines
    assert (reached.ancestor, [one.version for one in reached.rebuild]) == (
        "1", [line.promoted.version],
    )  # fmt: skip
    done = forget(
        records=sorted(wanted.records), authors=sorted(wanted.authors), home=str(line.home.root)
    )
    assert done.rebuilt and done.exit_code == 0, done.state.rebuilt
    (step,) = line.chain
    assert (step.parent, step.teacher) == ("1", None)
