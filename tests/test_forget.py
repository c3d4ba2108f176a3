"""Erasure on a tiny real model: learned twice, forgotten, killed on the way, rebuilt, searched."""

import json
import os
import signal
import subprocess
import sys
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

pytestmark = pytest.mark.slow

AUTHOR, SECRET = "mallory", "Zanzibarquokka"
ROWS = [
    row(900, f"Where is the {SECRET} key kept?", f"The {SECRET} key is under the mat.", user=AUTHOR),
    row(901, "Who has the spare one of it?", f"Nobody but {SECRET} himself has it.", user=AUTHOR),
]  # fmt: skip
KILLED_AT = ("delete: updates", "measure")  # before rows go, and in the middle of the rebuild
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
        self.kills = [self._killed(stage) for stage in KILLED_AT]
        self.done: Forgotten = forget(**self.arguments)

    def _killed(self, stage: str) -> int:
        command = [sys.executable, "-c", CHILD, json.dumps(self.arguments), stage]
        return subprocess.run(command, env=os.environ.copy(), check=False).returncode


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


def test_killed_twice_it_was_finished_by_the_same_command(erasure: Erasure) -> None:
    assert erasure.kills == [-signal.SIGKILL] * 2
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
