"""Whether the crash harness can see what it is there to see."""

import base64
import json
import os
import random
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from infra.crash.points import Point, read_points
from infra.crash.state import differences, finished_files, serves_undecided
from infra.crash.trial import chosen

ROOT = Path(__file__).parents[1]
STATE = {"aliases": {"champion": "2"}, "ledger": [{"act": "bless"}, {"act": "decide"}]}


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ({**STATE, "aliases": {"champion": "1"}}, "/aliases/champion"),
        ({**STATE, "ledger": [*STATE["ledger"], {"act": "decide"}]}, "/ledger"),
        ({**STATE, "ledger": [{"act": "bless"}, {"act": "recover"}]}, "/ledger/1/act"),
        ({**STATE, "files": {".result.json.7": 1}}, "/files"),
        ({"ledger": STATE["ledger"]}, "/aliases"),
    ],
)
def test_what_differs_is_seen(found: dict[str, Any], says: str) -> None:
    assert differences(STATE, STATE) == []
    (difference,) = differences(STATE, found)
    assert difference.startswith(says)


@pytest.mark.parametrize(
    ("action", "champion", "seen"),
    [("promote", 2, None), ("hold", 2, "2"), ("reject", 2, "2"), ("promote", 3, "3")],
)
def test_a_champion_that_nobody_decided_is_seen(
    tmp_path: Path, action: str, champion: int, seen: str | None
) -> None:
    acts = [
        {"act": "bless", "about": {"action": "promote"}},
        {"act": "decide", "about": {"action": action, "version": "2"}},
    ]
    payloads = [base64.b64encode(json.dumps({"predicate": a}).encode()).decode() for a in acts]
    lines = [json.dumps({"payload": payload}) for payload in payloads]
    (tmp_path / "ledger.jsonl").write_text("\n".join(lines) + "\n")
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute("CREATE TABLE registered_model_aliases (alias TEXT, version INTEGER)")
        database.execute(
            "INSERT INTO registered_model_aliases VALUES ('champion', ?)", (champion,)
        )
    assert serves_undecided(tmp_path) == seen


def test_what_was_made_again_is_seen(tmp_path: Path) -> None:
    note = tmp_path / "updates" / "u-1" / "train" / "trained.json"
    note.parent.mkdir(parents=True)
    note.write_text("{}")
    before = finished_files(tmp_path)
    assert finished_files(tmp_path) == before != {}
    other = note.with_suffix(".partial")
    other.write_text("{}")
    other.replace(note)
    assert finished_files(tmp_path) != before


def test_points_are_of_every_stage_and_in_their_order() -> None:
    log = [f"{s}\tbefore open\tf.py:{p}\t{n}" for s in "abc" for p in "xyz" for n in (1, 2, 3)]
    points = read_points("\n".join([*log, "torn\tbef"]).encode())
    assert len(points) == 27
    for seed in range(20):
        taken = chosen(points, 4, random.Random(seed))
        assert {p.stage for p in taken} == {"a", "b", "c"} and len(taken) == 4
        assert len({p[:3] for p in taken}) == 4
        assert taken == sorted(taken, key=points.index)
    alone = [Point("a", "before fsync", "f.py:x", 1)]
    assert chosen(alone, 9, random.Random(0)) == alone


def harness(*words: str) -> subprocess.CompletedProcess[str]:
    # Not the surroundings of the other tests: it has a Prefect server and a floor of its own.
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "TIDEGATE_"))}
    command = [sys.executable, "-m", "infra.crash", *words]
    return subprocess.run(
        command, cwd=ROOT, env=clean, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_an_update_killed_seven_times_ends_as_one_that_nobody_killed() -> None:
    done = harness("--short", "--part", "kills")
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    assert "ok   7 killed" in done.stdout, "a point was not reached"
