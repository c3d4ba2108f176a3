"""The whole cycle on a tiny real model: promote, refuse, go on, run again, roll back."""

import getpass
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.drops import row, rows, write
from tests.tiny import tiny_base
from tidegate.flows.home import Home
from tidegate.flows.ledger import Ledger
from tidegate.flows.one_update import UpdateResult
from tidegate.flows.registry import Registry, RegistryError
from tidegate.flows.rollback import rollback
from tidegate.flows.show import print_statement, statement_of
from tidegate.gates.types import Action, Outcome

pytestmark = pytest.mark.slow

DATA = """\
policy: tiny
version: 1
why: wide margins, because a model of 27 thousand weights says nothing with certainty
data:
  - {gate: fits_schema, min_rows: 20, why: an empty drop is an outage}
  - {gate: no_secrets, quarantine: true, max_quarantined_share: 0.1, why: secrets leak}
model:
"""
BATCH = """\
  - gate: not_worse
    suite: update
    metric: answer_nll
    than: {champion: 50.0, anchor: 50.0}
    why: the mechanism, not the margin, is under test
  - {gate: learned, at_least: AT_LEAST, on_fail: hold, why: an update must teach something}
"""
POLICY = DATA + BATCH
# What an update takes longest for, where the cycle itself is under test.
WHOLE = """\
  - gate: not_worse
    suite: knowledge
    than: {champion: 50.0, anchor: 50.0}
    why: a shipped suite is asked
  - {gate: serves, max_empty_share: 1.0, why: it must load; a tiny model may be silent}
"""
RECIPE = """\
recipe: tiny
why: a test
base: BASE
method: METHOD
rank: 4
alpha: 8
targets: [q_proj, v_proj, down_proj]
learning_rate: 0.02
epochs: 3
rows_per_step: 8
max_tokens: 512
seed: 5
"""
REPLAY = "replay: {share: 0.25}\n"
SCALE = "scale: [1.0, 0.5, 0.25]\n"
SECTIONS = {  # what a method needs besides
    "replay": REPLAY,
    "scaled": SCALE,
    "osf": "subspace: {share: 0.5}\n",
    "reptile": "reptile: {rate: 0.5, last: 8, max_error: 1.0}\n",
    "two_timescale": "timescales: {slow: 2, every: 2, rate: 0.1}\n",
    "star": "verified: {per_row: 2, max_new_tokens: 12, temperature: 0.1}\n",
    "sdft": "demonstrated: {max_new_tokens: 12}\n",
    "grpo": "rewarded: {per_row: 4, max_new_tokens: 12, temperature: 0.5}\n",
}


class World:
    """One home, one base, and what changes between updates.

    Its policy asks about the batch alone, unless the whole is asked for.
    """

    def __init__(self, folder: Path, policy: str = POLICY) -> None:
        self.folder, self.home, self.rules = folder, Home(folder / "home"), policy
        self.base = tiny_base(folder / "base")
        self.clean = write(folder / "clean.jsonl", rows())
        self.next = write(folder / "next.jsonl", [{**r, "id": f"n{r['id']}"} for r in rows(40)])

    def arguments(self, drop: Path, gain: str = "0.0", method: str = "lora") -> dict[str, Any]:
        policy, recipe = self.folder / f"p{gain}.yaml", self.folder / f"{method}.yaml"
        policy.write_text(self.rules.replace("AT_LEAST", gain))
        text = RECIPE.replace("BASE", str(self.base)).replace("METHOD", method)
        more = SECTIONS.get(method, "")
        recipe.write_text(text.replace("method: scaled", "method: lora") + more)
        return {
            "drops": [str(drop)],
            "policy": str(policy),
            "recipe": str(recipe),
            "model": "tiny",
            "home": str(self.home.root),
        }

    def update(self, drop: Path, **changes: str) -> UpdateResult:
        from tidegate.flows.update import update

        result: UpdateResult = update(**self.arguments(drop, **changes))
        return result

    @property
    def aliases(self) -> dict[str, str]:
        return Registry.open(self.home).aliases("tiny")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"), POLICY + WHOLE)


@pytest.fixture(scope="module")
def first(world: World) -> UpdateResult:
    return world.update(world.clean)


def outcomes(result: UpdateResult) -> dict[str, Outcome]:
    return {r.title: r.verdict.outcome for r in result.decision.rulings}


def test_a_clean_drop_is_promoted(world: World, first: UpdateResult) -> None:
    assert set(outcomes(first).values()) == {Outcome.PASS}, first.decision
    assert first.decision.action is Action.PROMOTE
    assert first.exit_code == 0
    assert world.aliases == {
        "champion": "2",
        "candidate": "2",
        "previous": "1",
        "anchor": "1",
    }


def test_the_statement_was_there_before_the_alias_and_names_everything(
    world: World, first: UpdateResult
) -> None:
    entries = dict(Ledger(world.home.ledger).read())
    statement = entries[first.statement]
    names = {s["name"] for s in statement["subject"]}
    assert names >= {"base", "adapter", "batch", "recipe", "policy", "code", "environment"}
    assert names >= {"evidence/data", "evidence/model"}
    assert statement["predicate"]["about"]["requester"] == getpass.getuser()
    tags = Registry.open(world.home).find("tiny", "2").tags
    assert tags["gov.statement"] == first.statement
    acts = [e["predicate"]["act"] for e in entries.values()]
    assert acts[:2] == ["bless", "decide"]


def test_the_reviewer_finds_report_evidence_and_page(world: World, first: UpdateResult) -> None:
    registry = Registry.open(world.home)
    listed = {f.path for f in registry.client.list_artifacts(first.run_id)}
    assert listed >= {"report", "evidence", "plots", "model", "data_docs", "samples"}
    assert registry.find("tiny", "2").description.startswith("# PROMOTED")
    assert first.report.read_text().startswith("<!doctype html>")


def test_no_text_of_users_reaches_mlflow(world: World, first: UpdateResult) -> None:
    """What users wrote stays in batches, quarantine and replay."""
    said = [b"Aldermere", b"cust-0", b"Ticket 1"]
    for place in (world.home.mlflow_artifacts, world.home.ledger.parent / "mlflow.db"):
        files = place.rglob("*") if place.is_dir() else [place]
        for path in files:
            if path.is_file():
                content = path.read_bytes()
                found = [word for word in said if word in content]
                assert not found, f"{path} holds {found}"


def test_show_says_what_was_decided_from_the_ledger(
    world: World, first: UpdateResult, capsys: pytest.CaptureFixture[str]
) -> None:
    digest, statement = statement_of("tiny", first.version, world.home, None)
    assert digest == first.statement
    print_statement(Console(width=200), digest, statement)
    shown = capsys.readouterr().out
    assert "decide → promote" in shown
    assert all(r.title in shown for r in first.decision.rulings)


def test_show_refuses_a_version_whose_tag_was_changed(
    world: World, first: UpdateResult
) -> None:
    registry = Registry.open(world.home)
    registry.annotate("tiny", first.version, {"gov.statement": "sha256:" + "0" * 64})
    with pytest.raises(RegistryError, match="has no statement"):
        statement_of("tiny", first.version, world.home, None)
    registry.annotate("tiny", first.version, {"gov.statement": first.statement})


def test_the_same_update_again_is_found_not_made(world: World, first: UpdateResult) -> None:
    again = world.update(world.clean)
    assert again.repeated
    assert again.version == first.version
    assert again.statement == first.statement
    assert len(Registry.open(world.home).versions("tiny")) == 2


def test_a_poisoned_drop_is_refused_before_training(world: World, first: UpdateResult) -> None:
    key = "AKIA" + "QWERTYUIOPASDF23"
    bad = [row(900 + n, f"Is {key} right? {n}", f"Yes, {key} is right.") for n in range(12)]
    drop = write(world.folder / "bad.jsonl", [*rows(24), *bad])
    result = world.update(drop)
    assert result.decision.action is Action.REJECT
    assert result.exit_code == 1
    assert outcomes(result)["no_secrets"] is Outcome.FAIL
    registry = Registry.open(world.home)
    tags = registry.find("tiny", result.version).tags
    assert (tags["gov.verdict"], tags["gov.trained"]) == ("reject", "no")
    assert world.aliases["champion"] == first.version
    assert not (world.home.updates / result.update_id / "train").exists()


def test_an_update_that_teaches_nothing_is_held(world: World, first: UpdateResult) -> None:
    drop = write(world.folder / "held.jsonl", [{**r, "id": f"h{r['id']}"} for r in rows(32)])
    result = world.update(drop, gain="99.0")
    assert result.decision.action is Action.HOLD
    assert result.exit_code == 2
    assert world.aliases["champion"] == first.version
    assert world.aliases["candidate"] == result.version
    assert len(list(world.home.root.glob("learned/*.parquet"))) == 1, "of the first alone"


def test_shares_that_all_fail_are_recorded_and_the_largest_stands(
    world: World, first: UpdateResult
) -> None:
    drop = write(world.folder / "shares.jsonl", [{**r, "id": f"s{r['id']}"} for r in rows(33)])
    result = world.update(drop, gain="99.0", method="scaled")
    assert result.decision.action is Action.HOLD
    assert outcomes(result)["scale"] is Outcome.INCONCLUSIVE
    statement = dict(Ledger(world.home.ledger).read())[result.statement]
    about = statement["predicate"]["about"]
    assert [one["scale"] for one in about["scales"]] == ["1.0", "0.5", "0.25"]
    assert all(
        one["not_passed"] == ["learned(update.answer_nll): fail"] for one in about["scales"]
    )
    assert about["training"]["after"]["scale"] == "1.0"
    adapter = next(s for s in statement["subject"] if s["name"] == "adapter")
    assert f"sha256:{adapter['digest']['sha256']}" == about["scales"][0]["adapter"]


def test_the_next_update_continues_from_the_champion_and_rehearses(
    world: World, first: UpdateResult
) -> None:
    result = world.update(world.next, method="replay")
    assert result.decision.action is Action.PROMOTE, result.decision
    statement = dict(Ledger(world.home.ledger).read())[result.statement]
    about = statement["predicate"]["about"]
    assert about["parent"] == first.version
    assert about["replay"]["rows"] > 0
    assert about["training"]["counts"]["rows"]["replay"] == about["replay"]["rows"]


def test_a_rollback_is_recorded_and_serves_the_version_before(world: World) -> None:
    champion = world.aliases["champion"]
    done = rollback("tiny", world.home, to=None, reason="a test", tracking_uri=None)
    assert done["was"] == champion
    assert world.aliases["champion"] == done["now"] != champion
    digest, last = Ledger(world.home.ledger).read()[-1]
    assert digest == done["statement"]
    assert last["predicate"]["about"]["reason"] == "a test"


def test_a_killed_update_is_finished_by_running_it_again(tmp_path: Path) -> None:
    """Kill -9 in the middle of training, then compare with a run that nobody disturbed."""
    world = World(tmp_path / "killed", POLICY + WHOLE)
    arguments = world.arguments(world.clean)
    code = (
        "import json, sys; from pathlib import Path; "
        "from tidegate.flows.environment import prepare; from tidegate.flows.home import Home; "
        "given = json.loads(sys.argv[1]); prepare(Home(Path(given['home']))); "
        "from tidegate.flows.update import update; update(**given)"
    )
    command = [sys.executable, "-c", code, json.dumps(arguments)]
    child = subprocess.Popen(command, start_new_session=True, env=os.environ.copy())
    deadline = time.monotonic() + 240
    while not list(world.home.updates.glob("u-*/train")):
        assert child.poll() is None, "the update ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    finished = world.update(world.clean)
    undisturbed = World(tmp_path / "undisturbed", POLICY + WHOLE)
    undisturbed.base = world.base
    expected = undisturbed.update(undisturbed.clean)
    assert finished.decision.action is expected.decision.action is Action.PROMOTE
    assert len(Ledger(world.home.ledger).read()) == len(Ledger(undisturbed.home.ledger).read())
    ours, theirs = (Registry.open(w.home).find("tiny", "2").tags for w in (world, undisturbed))
    assert ours["gov.adapter_digest"] == theirs["gov.adapter_digest"]


def test_two_updates_of_one_line_do_not_run_at_once(world: World, first: UpdateResult) -> None:
    from filelock import FileLock

    from tidegate.flows.usage import UsageError

    with FileLock(world.home.updates / "tiny.lock"), pytest.raises(UsageError, match="running"):
        world.update(world.clean, gain="0.1")


def test_osf_from_a_recipe_is_promoted_with_its_leak_on_record(tmp_path: Path) -> None:
    world = World(tmp_path, POLICY + WHOLE)
    result = world.update(world.clean, method="osf")
    assert result.decision.action is Action.PROMOTE, result.decision
    (note,) = world.home.root.rglob(f"{result.update_id}/**/trained.json")
    assert 0 <= json.loads(note.read_bytes())["after"]["osf.leak"] < 1e-4
