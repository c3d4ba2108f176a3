"""Erasure on a tiny real model: learned twice, forgotten, killed at every step, rebuilt, searched."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.drops import row, rows, write
from tests.test_update import World
from tidegate.flows.deployments.forget import forget as forget_by_marks
from tidegate.flows.erasing.forget import Forgotten, forget, plan_of, wanted_of
from tidegate.flows.erasing.plan import Plan
from tidegate.flows.erasing.state import request_of
from tidegate.flows.erasing.verify import holds_any
from tidegate.flows.ingest import ingest
from tidegate.flows.intake.pseudonym import pseudonym, pseudonym_key
from tidegate.flows.ledger import Ledger
from tidegate.flows.reconciling.compare import compare
from tidegate.flows.registry import Registry, RegistryError
from tidegate.flows.tracing.record import Reach, trace_record
from tidegate.flows.tracing.version import trace_version
from tidegate.flows.usage import UsageError
from tidegate.gates.digest import digest_file

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("floor_of_batches", "one_engine")]

AUTHOR, SECRET = "mallory", "Zanzibarquokka"
ROWS = [
    row(900, f"Where is the {SECRET} key kept?", f"The {SECRET} key is under the mat.", user=AUTHOR),
    row(901, "Who has the spare one of it?", f"Nobody but {SECRET} himself has it.", user=AUTHOR),
]  # fmt: skip
STEPS = (  # where it is killed, each time by the next one; "measure" is inside the rebuild
    "write down what is asked", "bury", "hold the model lines",
    "take affected versions out of service", "gather what to look for", "make smaller batches",
    "delete: learned", "delete: context", "delete: modules", "delete: quarantine",
    "delete: weights", "delete: registry", "delete: answers", "delete: results", "delete: updates",
    "delete: batches", "rebuild", "measure anchor, champion, candidate",
    "describe the versions", "look into every file", "search", "write down what was done",
    "clear away",
)  # fmt: skip
SAID = ("action", "version", "was", "versions", "batches", "rebuilds", "rows", "exact")
SAME = ("batches", "replay", "learned", "erased")  # folders with the same bytes in the end
# Python and torch are loaded once; every run is a process of its own.
CHILD = """
import json, os, signal, sys, traceback
from pathlib import Path
from tidegate.flows.environment import prepare
from tidegate.flows.home import Home
given, steps = json.loads(sys.argv[1]), json.loads(sys.argv[2])
prepare(Home(Path(given["home"])))
import tidegate.flows.update
from tidegate.flows import progress
from tidegate.flows.engine import start_engine
from tidegate.flows.erasing.forget import forget

def run(pipe):
    def report(now):
        if now.stage in steps and now.stage not in killed:
            os.write(pipe, now.stage.encode())
            os.kill(os.getpid(), signal.SIGKILL)
    progress._report.set(report)
    if not steps or "rebuild" in killed:
        start_engine()
    forget.fn(**given)

killed, code = [], -signal.SIGKILL
while code == -signal.SIGKILL:
    told, pipe = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            run(pipe)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(pipe)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    killed += [os.read(told, 100).decode()] if code == -signal.SIGKILL else []
    os.close(told)
print(json.dumps([code, killed]))
"""


class Erasure:
    """Two promoted updates, the first of which learned the author's rows."""

    def __init__(self, folder: Path) -> None:
        self.world = World(folder)
        self.drop = write(self.world.clean, [*rows(46), *ROWS])
        # All of the first batch is rehearsed by the second: the author's rows as well.
        self.updates = [
            self.world.update(drop, method="replay") for drop in (self.drop, self.world.next)
        ]
        self.home = self.world.home
        self.wanted = wanted_of(self.home, [], [AUTHOR])
        self.reach: Reach = trace_record(self.home, "t-00900", None, None)
        self.plan: Plan = plan_of(self.home, self.wanted, None, None)
        self.before = self.world.aliases["champion"]
        self.arguments: dict[str, Any] = {
            "records": sorted(self.wanted.records),
            "authors": sorted(self.wanted.authors),
            "home": str(self.home.root),
            "reason": "a test",
            "who": "rita",
        }
        kept = shutil.copytree(self.home.root, folder / "kept")
        assert self._killed_at(()) == [0, []]
        self.undisturbed = self.end()
        self._put_back(kept)
        self.code, self.killed = self._killed_at(STEPS)
        self.disturbed = self.end()
        self.done: Forgotten = forget(**self.arguments)

    def _killed_at(self, steps: Sequence[str]) -> list[Any]:
        """Run the same command until it ends by itself; the code, and where it was killed."""
        given = [json.dumps(self.arguments), json.dumps(steps)]
        command = [sys.executable, "-c", CHILD, *given]
        ran = subprocess.run(command, env=os.environ.copy(), check=True, stdout=subprocess.PIPE)
        ended: list[Any] = json.loads(ran.stdout.splitlines()[-1])
        return ended

    def _put_back(self, kept: Path) -> None:
        """In its old place, which MLflow knows. Its database stays the file that is open here."""
        database = self.home.mlflow_database
        for path in self.home.root.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path != database:
                path.unlink()
        shutil.copytree(
            kept, self.home.root, dirs_exist_ok=True,
            copy_function=lambda old, new: (shutil.copyfile(old, new), shutil.copymode(old, new)),
        )  # fmt: skip

    def end(self) -> dict[str, Any]:
        """What an erasure came to, without times and what is made up anew."""
        root, registry = self.home.root, Registry.open(self.home)
        files = [path for path in root.rglob("*") if path.is_file()]
        said = [entry["predicate"] for _, entry in Ledger(self.home.ledger).read()]
        (state,) = root.glob("erasing/*/state.json")
        aliases = registry.aliases("tiny")
        return {
            "bytes": {
                str(path.relative_to(root)): digest_file(path)
                for path in files
                if path.relative_to(root).parts[0] in SAME
            },
            "updates": {
                str(p.relative_to(root))
                for p in files
                if "updates" in p.parts and "data_docs" not in p.parts  # named by the time
            },
            "acts": [
                {name: act["about"].get(name) for name in SAID} | {"act": act["act"]}
                for act in said
            ],
            "state": json.loads(state.read_bytes()) | {"statements": None, "verified": None},
            "aliases": aliases,
            "weights": registry.find("tiny", aliases["champion"]).tags["gov.adapter_digest"],
            "pages": [v.description.partition("\n\n")[0] for v in registry.versions("tiny")],
        }


@pytest.fixture(scope="module")
def erasure(tmp_path_factory: pytest.TempPathFactory) -> Erasure:
    return Erasure(tmp_path_factory.mktemp("erasure"))


def test_the_blast_radius_names_both_versions(erasure: Erasure) -> None:
    assert [u.decision.action for u in erasure.updates] == ["promote", "promote"]
    first, second = (u.version for u in erasure.updates)
    assert [v.version for v in erasure.plan.versions] == [first, second]
    assert erasure.plan.versions[1].aliases == ("candidate", "champion")
    line = erasure.plan.lines[0]
    assert (line.champion, line.ancestor) == (second, "1")
    assert [again.version for again in line.rebuild] == [first, second]
    assert erasure.reach.versions == erasure.plan.versions
    assert erasure.plan.rows["learned"] == len(ROWS)


def test_killed_between_every_two_steps_it_comes_to_the_same_end(erasure: Erasure) -> None:
    assert (erasure.code, erasure.killed) == (0, list(STEPS))
    for what, end in erasure.undisturbed.items():
        assert erasure.disturbed[what] == end, what
    assert erasure.done.exit_code == 0, erasure.done
    assert [r.action for r in erasure.done.state.rebuilt] == ["promote", "promote"]


def test_the_rebuilt_line_serves_and_never_held_the_rows(erasure: Erasure) -> None:
    champion = erasure.world.aliases["champion"]
    assert int(champion) > int(erasure.before)
    way = trace_version(erasure.home, "tiny", "champion", None)
    assert [step.version for step in way.steps] == [
        str(r.version) for r in reversed(erasure.done.state.rebuilt)
    ]
    assert way.steps[-1].rows["learned"] == len(rows(46)) and way.base == "1"
    assert way.steps[0].rows["replayed"] > 0
    found = trace_record(erasure.home, "t-00900", None, None)
    assert not found.batches
    assert {v.version for v in found.versions} == {v.version for v in erasure.plan.versions}
    assert not any(v.aliases for v in found.versions)


def test_the_text_is_nowhere_below_the_home(erasure: Erasure) -> None:
    key = pseudonym_key(erasure.home)
    words = [SECRET, "t-00900", "t-00901", pseudonym(key, AUTHOR), AUTHOR]
    forms = [word.encode() for word in words]
    prefect = Path(os.environ["PREFECT_HOME"])
    for root in (erasure.home.root, prefect):
        held = [p for p in root.rglob("*") if p.is_file() and holds_any(p, forms)]
        assert not held
    assert erasure.done.state.verified is not None
    assert erasure.done.state.verified.searched.pieces > 5
    assert not list(erasure.home.root.glob("erasing/*/texts.json"))


def test_the_search_would_have_found_it(erasure: Erasure) -> None:
    assert holds_any(erasure.drop, [SECRET.encode()])


def test_affected_weights_are_gone_and_cannot_serve_again(erasure: Erasure) -> None:
    registry = Registry.open(erasure.home)
    for update in erasure.updates:
        assert not (erasure.home.updates / update.update_id / "train").exists()
        with pytest.raises(RegistryError):
            registry.load("tiny", update.version)
        assert registry.find("tiny", update.version).tags["gov.statement"] == update.statement


def test_the_ledger_says_what_was_done_and_names_nobody(erasure: Erasure) -> None:
    entries = dict(Ledger(erasure.home.ledger).read())
    acts = [e["predicate"] for e in entries.values()]
    assert [a["act"] for a in acts] == [
        "bless", "decide", "decide", "forget", "rollback", "decide", "decide", "erase",
    ]  # fmt: skip
    about = acts[-1]["about"]
    assert about["versions"] == [u.version for u in erasure.updates] and about["exact"] is True
    old = erasure.updates[0].document["batch"]["digest"]
    assert about["batches"] == {old: erasure.done.state.rebuilt[0].batch}
    assert about["verification"]["places_found"] == "0"
    assert AUTHOR not in erasure.home.ledger.read_text()


def test_the_registry_agrees_with_the_ledger(erasure: Erasure) -> None:
    found = compare(erasure.home, "tiny")
    assert found.exit_code == 0, found


def test_the_same_command_again_changes_nothing(erasure: Erasure) -> None:
    lines = erasure.home.ledger.read_bytes()
    again = forget(**erasure.arguments)
    assert again.state.statements == erasure.done.state.statements
    marks = {name: erasure.arguments[name] for name in ("records", "authors")}
    deployed = forget_by_marks(
        request=request_of(erasure.wanted),
        reason="a test",
        by="rita",
        home=erasure.arguments["home"],
        **marks,
        return_state=True,
    )
    assert deployed.name == "Erased", deployed.message
    assert erasure.home.ledger.read_bytes() == lines


def test_the_rows_are_not_taken_in_again(erasure: Erasure, tmp_path: Path) -> None:
    key = pseudonym_key(erasure.home)
    later = row(950, "Something else entirely?", "Yes, something else.", user=AUTHOR)
    drop = write(tmp_path / "again.jsonl", [*rows(46), *ROWS, later])
    batch = ingest([drop], home=erasure.home, out=tmp_path / "out", pseudonym_key=key)
    assert (batch.rows, batch.without_consent) == (46, len(ROWS) + 1)
    assert batch.digest == erasure.done.state.rebuilt[0].batch
    assert not holds_any(tmp_path / "out" / "dropped.jsonl", [b"t-0090"])


def test_nobody_who_was_never_here_can_be_forgotten(erasure: Erasure) -> None:
    with pytest.raises(UsageError, match="ever held"):
        plan_of(erasure.home, wanted_of(erasure.home, ["no-such"], []), None, None)


def test_whoever_is_learned_again_is_erased_again(erasure: Erasure, tmp_path: Path) -> None:
    """Somebody deletes the tombstone, as he may, and the same drop is learned. Last: it changes
    the world of the others."""
    for path in (erasure.home.root / "erased").iterdir():
        path.unlink()
    learned = erasure.world.update(erasure.drop)
    assert trace_record(erasure.home, "t-00900", None, None).batches
    done = forget(**erasure.arguments, again=False)
    assert (done.state.round, done.exit_code) == (2, 2), done  # 2: nothing was rebuilt
    assert done.state.verified is not None and done.state.verified.exact
    assert learned.version in {one.version for one in done.state.plan.weights}
    assert not trace_record(erasure.home, "t-00900", None, None).batches
    acts = [e["predicate"] for _, e in Ledger(erasure.home.ledger).read()]
    rounds = [a["about"]["round"] for a in acts if a["act"] in ("forget", "erase")]
    assert rounds == [1, 1, 2, 2]
