"""Methods that learn from what the model writes, through the whole update, and erased again."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.drops import row, write
from tests.test_update import DATA, WHOLE, World
from tidegate.flows.erasing import rollouts
from tidegate.flows.erasing.forget import Forgotten, forget, wanted_of
from tidegate.flows.ledger import Ledger
from tidegate.flows.one_update import UpdateResult
from tidegate.gates.types import Action

pytestmark = pytest.mark.slow

ODD = 4  # rows whose answer the model cannot know


def drop(path: Path, first: int, count: int = 40, odd: int = 0) -> Path:
    """Questions that are all answered with Yes, but for the odd ones."""
    made = [row(first + n, f"Is number {first + n} ready?", "Yes.") for n in range(count - odd)]
    made += [
        row(
            first + 100 + n,
            f"Who keeps key {first + n}?",
            f"Zanzibarquokka {n}.",
            user="mallory",
        )
        for n in range(odd)
    ]
    return write(path, made)


class SelfTaught:
    """One line: star and grpo on the bare base, then lora, star, grpo and sdft; at last a row is
    forgotten."""

    def __init__(self, folder: Path) -> None:
        # It is not asked whether a tiny model gains by itself, only whether all goes its way.
        self.world = World(folder, DATA + WHOLE)
        self.home = self.world.home
        plain = drop(folder / "plain.jsonl", 0, count=120)
        mixed, rewarded, last = (
            drop(folder / f"{first}.jsonl", first, odd=ODD) for first in (1000, 3000, 2000)
        )
        self.nothing = self.update(mixed, "star")
        self.unrewarded = self.update(rewarded, "grpo")
        self.taught = self.update(plain, "lora")
        self.star = self.update(mixed, "star")
        self.grpo = self.update(rewarded, "grpo")
        self.sdft = self.update(last, "sdft")
        self.before = rollouts.folders(self.home)

    def update(self, path: Path, method: str) -> UpdateResult:
        from tidegate.flows.update import update

        result: UpdateResult = update(**self.world.arguments(path, method=method))
        return result

    def about(self, result: UpdateResult) -> dict[str, Any]:
        statement = dict(Ledger(self.home.ledger).read())[result.statement]
        about: dict[str, Any] = statement["predicate"]["about"]
        return about

    def folder(self, result: UpdateResult) -> Path:
        return self.home.updates / result.update_id / "train" / "rollouts"


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> SelfTaught:
    return SelfTaught(tmp_path_factory.mktemp("self"))


def test_a_base_that_writes_nothing_right_is_rejected_with_the_reason(line: SelfTaught) -> None:
    assert line.nothing.decision.action is Action.REJECT
    (ruling,) = (r for r in line.nothing.decision.rulings if r.gate == "training")
    assert "no right answer to any of 40 questions" in ruling.verdict.reason
    assert line.about(line.taught)["parent"] == "1"


def test_star_is_promoted_with_what_it_could_not_answer_on_record(line: SelfTaught) -> None:
    assert line.star.decision.action is Action.PROMOTE, line.star.decision
    counts = line.about(line.star)["training"]["counts"]
    assert counts["rollouts"]["questions"] == 40
    assert counts["skipped"]["rollouts: no right answer"] >= ODD
    kept = counts["rows"]["rollouts"]
    assert 0 < kept == counts["rollouts"]["kept"]


def test_without_one_advantage_the_update_is_rejected_with_the_numbers(
    line: SelfTaught,
) -> None:
    assert line.unrewarded.decision.action is Action.REJECT
    (ruling,) = (r for r in line.unrewarded.decision.rulings if r.gate == "training")
    reason = ruling.verdict.reason
    assert "answers to 40 questions (4 each, 0 of 160 right; 40 all answers wrong)" in reason


def test_grpo_is_promoted_with_its_groups_on_record(line: SelfTaught) -> None:
    assert line.grpo.decision.action is Action.PROMOTE, line.grpo.decision
    counts = line.about(line.grpo)["training"]["counts"]
    written, skipped = counts["rollouts"], counts["skipped"]
    learned = written["questions with an advantage"]
    assert (written["questions"], written["answers"]) == (40, 160)
    assert counts["rows"]["rollouts"] == written["kept"] == 4 * learned
    assert skipped["rollouts: all answers wrong"] >= ODD
    right = skipped.get("rollouts: all answers right", 0)
    assert learned + skipped["rollouts: all answers wrong"] + right == 40 and learned > 0


def test_sdft_is_promoted(line: SelfTaught) -> None:
    assert line.sdft.decision.action is Action.PROMOTE, line.sdft.decision
    counts = line.about(line.sdft)["training"]["counts"]
    assert counts["rows"] == {"new": 40, "rollouts": 40} and counts["seen"]["new"] == 0


def test_what_the_model_wrote_stays_with_the_update(line: SelfTaught) -> None:
    """Not in MLflow, and not among the rows that a later update rehearses."""
    wrote = (line.nothing, line.unrewarded, line.star, line.grpo, line.sdft)
    assert {line.folder(result) for result in wrote} == set(line.before)
    assert not list(line.home.mlflow_artifacts.rglob("rollouts"))
    stored = sorted(line.home.replay.glob("*.parquet"))
    names = [name for path in stored for name in pq.read_table(path)["id"].to_pylist()]
    assert names and all(re.fullmatch(r"t-\d{5}", name) for name in names)


def test_an_erasure_takes_all_that_models_wrote_and_a_rebuild_writes_anew(
    line: SelfTaught,
) -> None:
    """Last: it changes the world of the others."""
    wanted = wanted_of(line.home, ["t-02100"], [])
    kept = shutil.copytree(line.folder(line.sdft), line.world.folder / "kept")
    done: Forgotten = forget(
        records=sorted(wanted.records),
        authors=[],
        home=str(line.home.root),
        reason="a test",
        who="rita",
    )
    assert done.exit_code == 0, done
    assert done.state.verified is not None and done.state.verified.exact
    (rebuilt,) = done.state.rebuilt
    assert rebuilt.update_id is not None
    mine = line.home.updates / rebuilt.update_id / "train" / "rollouts"
    assert rollouts.folders(line.home) == [mine]  # of star too, which knew nothing of the row
    assert rollouts.suspect(line.home, done.state.plan, wanted) == []

    for back in (line.folder(line.sdft), line.home.cache / "rollouts"):
        shutil.copytree(kept, back)  # of the erased update, and of nobody knows which
        assert rollouts.suspect(line.home, done.state.plan, wanted) == [back]
        shutil.rmtree(back)
    (notes,) = mine.glob("*/notes.json")
    said = notes.read_bytes()
    gone = next(one.adapter for one in done.state.plan.going)
    for damaged in (json.dumps({"parent": gone}).encode(), b"", b"[]"):
        notes.write_bytes(damaged)
        assert rollouts.suspect(line.home, done.state.plan, wanted) == [mine]
    notes.write_bytes(said)
