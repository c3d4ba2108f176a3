"""The rebuilt version against a never-trained twin: what still knows the rows is told, the rest not."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tests import test_update
from tests.drops import row, write
from tidegate.evals.recall import Examinee, Recall, make_exam, recall
from tidegate.flows.cli import app
from tidegate.flows.erasing import state as states
from tidegate.flows.erasing.forget import Forgotten, forget, wanted_of
from tidegate.flows.erasing.state import State, Told
from tidegate.flows.erasing.telling import told_of
from tidegate.flows.erasing.verify import holds_any
from tidegate.flows.ledger import Ledger
from tidegate.flows.registry import Registry
from tidegate.flows.usage import UsageError
from tidegate.gates.types import Outcome, ignore_progress
from tidegate.training.base import find_base, load_model

AUTHOR, MARK = "mallory", "Zanzibarquokka"
RECIPE = (
    test_update.RECIPE.replace("rank: 4", "rank: 16")
    .replace("alpha: 8", "alpha: 32")
    .replace("[q_proj, v_proj, down_proj]", "[q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj]")
    .replace("epochs: 3", "epochs: 25")
)  # fmt: skip


def codes(who: str, count: int, first: int) -> list[dict[str, Any]]:
    """Answers of letters that nobody can guess."""
    chance = random.Random(who)
    return [
        row(
            first + n,
            f"Code of {who} {n}?",
            "".join(chance.choices("abcdefghijklmnop", k=10)),
            user=AUTHOR if who == MARK else f"cust-{n:03}",
        )
        for n in range(count)
    ]


# A process that is killed when this stage is announced.
CHILD = """
import json, os, signal, sys
from pathlib import Path
from tidegate.flows.environment import prepare
from tidegate.flows.home import Home
given = json.loads(sys.argv[1])
prepare(Home(Path(given["home"])))
from tidegate.flows import progress
from tidegate.flows.erasing.forget import forget
def report(now):
    if now.stage.startswith(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
progress._report.set(report)
forget(**given)
"""


class Erasure:
    """One promoted update that learned the author's codes by heart, killed on its way out."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(test_update, "RECIPE", RECIPE)
        self.world = test_update.World(folder)
        drop = write(self.world.clean, [*codes("Oak", 30, 0), *codes(MARK, 40, 900)])
        self.update = self.world.update(drop)
        self.home = self.world.home
        self.kept = folder / "kept"
        work = self.home.updates / self.update.update_id
        shutil.copytree(work / "train" / "adapter", self.kept / "adapter")
        rows = pq.read_table(work / "check" / "kept.parquet")
        mine = [str(name) >= "t-00900" for name in rows["id"].to_pylist()]
        pq.write_table(rows.filter(mine), self.kept / "mine.parquet")
        pq.write_table(rows.filter([not m for m in mine]), self.kept / "others.parquet")
        wanted = wanted_of(self.home, [], [AUTHOR])
        self.arguments: dict[str, Any] = {
            "records": sorted(wanted.records),
            "authors": sorted(wanted.authors),
            "home": str(self.home.root),
        }
        given = json.dumps({**self.arguments, "compare": True})
        command = [sys.executable, "-c", CHILD, given, "compare with a never-trained twin"]
        self.killed = subprocess.run(command, env=os.environ.copy(), check=False).returncode
        self.held = [p for p in self.home.root.glob("erasing/*/twin/tiny/*") if p.is_file()]
        self.modes = {p.name: p.stat().st_mode & 0o777 for p in self.held}
        # It was asked for by the run that was killed.
        self.done: Forgotten = forget(**self.arguments)

    def answers(self, adapter: Path, digest: str) -> Recall:
        """Of another adapter, on the same rows."""
        base = find_base(str(self.world.base), self.home.cache)
        exam = make_exam(self.kept / "mine.parquet", self.kept / "others.parquet", 5)
        model, tokenizer = load_model(base, adapter)
        return recall(
            exam, Examinee(model, tokenizer, digest), self.home.cache, ignore_progress
        )


@pytest.fixture(scope="module")
def erasure(
    tmp_path_factory: pytest.TempPathFactory, floor_of_batches: None, one_engine: None
) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        yield Erasure(tmp_path_factory.mktemp("twin"), patch)


@pytest.mark.slow
def test_an_honest_rebuild_passes_and_the_erased_version_would_not(erasure: Erasure) -> None:
    assert erasure.killed == -signal.SIGKILL
    (told,) = erasure.done.state.told
    assert (told.outcome, told.control) == (Outcome.PASS, Outcome.FAIL), told
    assert erasure.done.exit_code == 0, erasure.done
    assert (told.rows, told.learned, told.erased) == (40, 40, "2")
    assert told.version == erasure.world.aliases["champion"]
    assert float(told.measured["erased.membership_auc"]) > 0.9
    assert abs(float(told.measured["rebuilt.membership_auc"]) - 0.5) < 0.2


@pytest.mark.slow
def test_an_adapter_that_still_knows_the_rows_is_told(erasure: Erasure) -> None:
    """As if the erased adapter had been taken for the rebuilt one."""
    served = Registry.open(erasure.home).load("tiny", erasure.world.aliases["champion"])
    assert served.adapter is not None
    knows = erasure.answers(erasure.kept / "adapter", "sha256:" + "1" * 64)
    never = erasure.answers(served.adapter, "sha256:" + "2" * 64)
    told = told_of("tiny", "2", "3", 6, 40, before=knows, after=knows, twin=never)
    assert told.outcome is Outcome.FAIL, told
    assert told.measured["rebuilt.membership_auc"] > "0.9"
    state = erasure.done.state.model_copy(update={"told": (told,)})
    assert Forgotten(state=state, rebuilt=True).exit_code == 4


@pytest.mark.slow
def test_it_is_in_the_statement_and_the_exam_is_gone(erasure: Erasure) -> None:
    assert erasure.modes == {"exam.json": 0o600, "before.json": 0o644}
    about = Ledger(erasure.home.ledger).read()[-1][1]["predicate"]["about"]
    assert about["twin"] == erasure.done.state.told[0].model_dump(mode="json")
    assert about["exact"] is True
    assert not list(erasure.home.root.glob("erasing/*/twin"))
    files = (p for p in erasure.home.root.rglob("*") if p.is_file())
    assert not [p for p in files if holds_any(p, [MARK.encode()])]


@pytest.mark.slow
def test_a_reviewer_reads_it_first(erasure: Erasure) -> None:
    registry = Registry.open(erasure.home)
    old, new = (registry.find("tiny", version) for version in ("2", "3"))
    assert old.description.startswith("**Erased.** ") and "# PROMOTED" in old.description
    assert new.description.startswith("**Rebuilt after an erasure.** ")
    assert "cannot be told from a never-trained twin by 40 of 40 rows" in new.description
    assert new.description.count("Rebuilt after") == 1 and "# PROMOTED" in new.description
    assert new.tags["gov.rebuilds"] == "2"


@pytest.mark.slow
def test_the_same_command_again_changes_nothing(erasure: Erasure) -> None:
    lines = erasure.home.ledger.read_bytes()
    again = forget(**erasure.arguments, compare=True)
    assert again.state.told == erasure.done.state.told
    assert erasure.home.ledger.read_bytes() == lines


@pytest.mark.slow
def test_a_twin_cannot_be_asked_for_when_the_rows_are_gone(erasure: Erasure) -> None:
    path = states.folder(erasure.home, erasure.done.state.request) / "state.json"
    kept = path.read_bytes()
    states.save(erasure.home, erasure.done.state.model_copy(update={"told": ()}))
    with pytest.raises(UsageError, match="begins the erasure"):
        forget(**erasure.arguments, compare=True)
    path.write_bytes(kept)


def known(rows: int = 40, shift: float = 0.0, completed: bool = False, seed: int = 1) -> Recall:
    """Answers to rows of unlike difficulty; a model that knows them finds each likelier."""
    hard, noise = random.Random(0), random.Random(seed)
    losses = [hard.uniform(1, 4) - shift + noise.gauss(0, 0.02) for _ in range(rows)]
    ratios = [hard.uniform(0.5, 1.5) * (1 + shift) + noise.gauss(0, 0.01) for _ in range(rows)]
    return Recall(
        losses=tuple(losses), completed=(completed,) * rows, ratios=tuple(ratios)
    )  # fmt: skip


KNOWS, NEVER, TWIN = known(shift=3.0, completed=True), known(seed=2), known(seed=3)
TOLD = {  # erased version, rebuilt version, twin, what comes out, what the control does
    "an honest rebuild": (KNOWS, NEVER, TWIN, Outcome.PASS, Outcome.FAIL),
    "it still knows": (KNOWS, KNOWS, TWIN, Outcome.FAIL, Outcome.FAIL),
    "it only says it word for word": (
        KNOWS,
        NEVER.model_copy(update={"completed": (True,) * 40}),
        TWIN,
        Outcome.FAIL,
        Outcome.FAIL,
    ),
    "an exam that sees nothing": (
        known(seed=4),
        NEVER,
        TWIN,
        Outcome.INCONCLUSIVE,
        Outcome.PASS,
    ),
    "too few rows": (
        known(4, 3.0, True),
        known(4, seed=2),
        known(4, seed=3),
        Outcome.INCONCLUSIVE,
        Outcome.INCONCLUSIVE,
    ),
    "fewer than the gate wants": (
        known(7, 3.0, True),
        known(7, seed=2),
        known(7, seed=3),
        Outcome.INCONCLUSIVE,
        Outcome.INCONCLUSIVE,
    ),
    "not a number": (
        KNOWS,
        NEVER.model_copy(update={"losses": (float("nan"),) * 40}),
        TWIN,
        Outcome.INCONCLUSIVE,
        Outcome.FAIL,
    ),
    "another number of rows": (KNOWS, known(39), TWIN, Outcome.INCONCLUSIVE, Outcome.FAIL),
}


@pytest.mark.parametrize("name", TOLD)
def test_what_the_answers_come_to(name: str) -> None:
    before, after, twin, outcome, control = TOLD[name]
    told = told_of("m", "2", "3", 1, 40, before, after, twin)
    assert (told.outcome, told.control) == (outcome, control), told


CODES = {
    (): 0,
    (Outcome.PASS,): 0,
    (Outcome.PASS, Outcome.INCONCLUSIVE): 2,
    (Outcome.MISSING,): 2,
    (Outcome.PASS, Outcome.FAIL): 4,
    (Outcome.ERROR,): 4,
}


@pytest.mark.parametrize("outcomes", CODES)
def test_the_exit_code_says_what_was_told(outcomes: tuple[Outcome, ...]) -> None:
    told = tuple(
        Told(model=f"m{n}", erased="2", version="3", outcome=outcome, reason="a test")
        for n, outcome in enumerate(outcomes)
    )
    plan = {
        "batches": (),
        "updates": (),
        "rows": {},
        "versions": (),
        "weights": (),
        "lines": (),
    }
    searched = {"files": 1, "pieces": 1, "shared": 0, "found": ()}
    state = State.model_validate(
        {
            "request": "f-1",
            "plan": plan,
            "verified": {"lineage_clean": True, "weights_gone": True, "searched": searched},
            "told": told,
        }
    )
    assert Forgotten(state=state, rebuilt=True).exit_code == CODES[outcomes]


def test_a_twin_needs_a_rebuild(tmp_path: Path) -> None:
    said = ["forget", "--record", "r1", "--twin", "--no-rebuild", "--home", str(tmp_path)]
    done = CliRunner().invoke(app, said)
    assert done.exit_code == 2 and "--no-rebuild" in done.output
