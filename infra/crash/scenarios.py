"""What is killed: every command that changes what serves, on a tiny model that is really trained.

Each begins from what an undisturbed command left, so that one history serves them all:

    start ── update ──► one ── update ──► two ── rollback, forget, repair
                         ├── refused update
                         └── held update ──► held ── approve
"""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from infra.crash.state import MODEL
from infra.crash.warm import ROOT, Warm, copied

POLICY = """\
policy: tiny
version: 1
why: wide margins, because a model of 27 thousand weights says nothing with certainty
data:
  - {gate: fits_schema, min_rows: 12, why: an empty drop is an outage}
  - {gate: no_secrets, quarantine: true, max_quarantined_share: 0.2, why: secrets leak}
model:
  - {gate: learned, at_least: 0.0, on_fail: hold, why: an update must teach something}
  - {gate: serves, max_empty_share: 1.0, why: it must load; a tiny model may be silent}
"""
APPROVAL = "approval: {quorum: 1, valid_for: 72h, when: always, reviewers: reviewers.yaml}\n"
RECIPE = """\
recipe: tiny
why: killed again and again
base: BASE
method: replay
rank: 4
alpha: 8
targets: [q_proj, v_proj]
learning_rate: 0.02
epochs: 6
rows_per_step: 4
max_tokens: 512
seed: 5
replay: {share: 0.25}
"""
ROWS = 24  # and 6 epochs of 4 rows a step: a checkpoint in the middle of training


class Scenario(NamedTuple):
    """One command, killed at so many points and by the clock at so many moments."""

    name: str
    start: str  # the home that it begins from
    command: list[str]
    points: int
    moments: int
    leaves: str = ""  # what its undisturbed end is called, where others begin from it
    disturb: Callable[[Path], None] | None = None  # done to the home before the command


def scenarios(folder: Path) -> list[Scenario]:
    """All of them, in the order in which they need one another."""
    model = ["--model", MODEL]

    def update(drop: str, policy: str = "policy") -> list[str]:
        files = ["--policy", f"{folder}/{policy}.yaml", "--recipe", f"{folder}/recipe.yaml"]
        return ["update", f"{folder}/{drop}.jsonl", *files, *model, "--requester", "rita"]

    approve = ["approve", "candidate", "--key", f"{folder}/ada.pem", "--reason", "read"]
    forget = ["forget", "--record", "t-00001", "--reason", "ticket 7", "--yes"]
    return [
        Scenario("first update", "start", update("first"), 16, 6, "one"),
        Scenario("next update", "one", update("next"), 22, 8, "two"),
        Scenario("refused update", "one", update("bad"), 4, 1),
        Scenario("held update", "one", update("held", "approval"), 4, 1, "held"),
        Scenario("approve", "held", [*approve, *model], 8, 0),
        Scenario("rollback", "two", ["rollback", "--reason", "wrong", *model], 6, 0),
        Scenario("forget", "two", forget, 8, 2),
        Scenario("repair", "two", ["reconcile", "--repair", *model], 5, 0, disturb=_moved),
    ]


def prepare(warm: Warm, folder: Path, home: Path) -> None:
    """Base, drops, rules and keys, and the home `start` with its key of pseudonyms.

    The key is made here, so that two homes give one author one name and one batch one digest.
    """
    warm.ask(lambda: _made(folder, home))
    copied(home, folder / "kept" / "start")


def _made(folder: Path, home: Path) -> None:
    from tests.drops import row, rows, write
    from tests.tiny import tiny_base
    from tidegate.flows.home import Home
    from tidegate.flows.intake.pseudonym import pseudonym_key
    from tidegate.flows.signing.keys import new_key, reviewer_line

    base = tiny_base(folder / "base")
    (folder / "recipe.yaml").write_text(RECIPE.replace("BASE", json.dumps(str(base))))
    (folder / "policy.yaml").write_text(POLICY)
    (folder / "approval.yaml").write_text(POLICY + APPROVAL)
    ada = reviewer_line("ada", new_key(folder / "ada.pem"), ["model-reviewer"])
    (folder / "reviewers.yaml").write_text(f"reviewers:\n{ada}\n")
    key = "AKIA" + "QWERTYUIOPASDF23"
    leaks = [row(900 + n, f"Is {key} right? {n}", f"Yes, {key} is.") for n in range(12)]
    clean = rows(ROWS)
    write(folder / "first.jsonl", [*clean, *leaks[:2]])
    for name in ("next", "held"):
        write(folder / f"{name}.jsonl", [{**r, "id": f"{name}-{r['id']}"} for r in clean])
    write(folder / "bad.jsonl", [*clean, *leaks])
    pseudonym_key(Home(home))


def _moved(home: Path) -> None:
    """`champion` moved by hand, and a tag overwritten: what a repair puts back."""
    with sqlite3.connect(home / "mlflow.db") as database:
        database.execute(
            "UPDATE registered_model_aliases SET version = 1 WHERE alias = 'champion'"
        )
        database.execute(
            "UPDATE model_version_tags SET value = 'reject' WHERE key = 'gov.verdict' AND version = 2"
        )


def floor() -> Path:
    """What every policy must meet here: the tests' floor, since one gate is enough for this."""
    return ROOT / "tests" / "floor.yaml"
