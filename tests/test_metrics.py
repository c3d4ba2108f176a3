"""Counters for a monitor, read back by Prometheus's own parser."""

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from tidegate.flows.cli import app
from tidegate.flows.home import Home
from tidegate.flows.ledger import Ledger
from tidegate.flows.metrics import exposition
from tidegate.gates.audit import statement
from tidegate.gates.digest import digest_bytes, digest_json

Samples = dict[str, dict[frozenset[str], float]]


def read(text: str) -> Samples:
    """Samples by name, then by the values of their labels, which come in any order."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[frozenset(sample.labels.values())] = sample.value
    return found


DATA = {
    "measurements": [
        {"name": "data.quarantined_share", "value": 0.3, "n": 10},
        {"name": "no_secrets.quarantined_share", "value": 0.2, "n": 10},
        {"name": "no_secrets.hits", "value": 2.0, "n": 10},
        {"name": "no_floods.quarantined_share", "value": 0.1, "n": 10},
    ]
}


def decided(home: Home, version: int, action: str, *, trained: bool = True, **more: Any) -> str:
    """One update of the line `assistant`, with the evidence that a monitor reads."""
    about = {
        "decision_id": f"u-{version}",
        "action": action,
        "version": str(version),
        "parent": "1",
        "quarantined": 3,
        "batch": {"rows": 10, "unreadable": 2, "without_consent": 1},
        "rulings": [
            {
                "gate": "drift_within_budget", "outcome": "pass", "action": "promote",
                "reason": "", "observed": "-0.125", "limit": "-0.5",
            },
            {"gate": "serves", "outcome": "pass", "action": "promote", "reason": ""},
        ],
        **more,
    }  # fmt: skip
    if trained:
        about["training"] = {"steps": 4}
    folder = home.updates / f"u-{version}" / "evidence"
    folder.mkdir(parents=True, exist_ok=True)
    for name, said in (("evidence_data", DATA), ("training", {"seconds": 2.5, "tokens": 900})):
        (folder / f"{name}.json.gz").write_bytes(gzip.compress(json.dumps(said).encode()))
    subjects = {"batch": digest_bytes(b"batch"), "evidence/data": digest_json(DATA)}
    made = statement(
        act="decide", model="assistant", subjects=subjects, about=about,
        decided_at=datetime(2026, 6, version, tzinfo=UTC),
    )  # fmt: skip
    return Ledger(home.ledger).append(made)


def blessed(home: Home) -> str:
    """The base serves, as the first champion."""
    made = statement(
        act="bless", model="assistant", subjects={"base": digest_bytes(b"base")},
        about={"decision_id": "bless"}, decided_at=datetime(2026, 6, 1, tzinfo=UTC),
    )  # fmt: skip
    return Ledger(home.ledger).append(made)


def at(*labels: str) -> frozenset[str]:
    return frozenset(labels)


def seen(home: Home) -> Samples:
    return read(exposition(home).decode())


def test_the_counters_are_what_the_statements_say(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    blessed(home)
    decided(home, 2, "promote")
    decided(home, 3, "reject", trained=False)
    held = decided(home, 4, "hold")
    found = seen(home)
    assert found["tidegate_ledger_entries"] == {at(): 4}
    assert found["tidegate_acts_total"] == {
        at("assistant", "bless"): 1,
        at("assistant", "decide"): 3,
    }
    assert found["tidegate_decisions_total"] == {
        at("assistant", action): 1 for action in ("promote", "reject", "hold")
    }
    assert found["tidegate_rows_total"] == {
        at("assistant", "kept"): 21,
        at("assistant", "quarantined"): 9,
        at("assistant", "unreadable"): 6,
        at("assistant", "without_consent"): 3,
    }
    assert found["tidegate_rulings_total"][at("assistant", "serves", "pass")] == 3
    assert found["tidegate_quarantined_rows_total"] == {
        at("assistant", "no_secrets"): 6,
        at("assistant", "no_floods"): 3,
    }
    assert found["tidegate_training_seconds_total"] == {at("assistant"): 5.0}
    assert found["tidegate_training_tokens_total"] == {at("assistant"): 1800}
    assert found["tidegate_gate_observed"] == {at("assistant", "drift_within_budget"): -0.125}
    assert found["tidegate_gate_limit"] == {at("assistant", "drift_within_budget"): -0.5}
    since = datetime(2026, 6, 2, tzinfo=UTC).timestamp()
    assert found["tidegate_champion_since_seconds"] == {at("assistant"): since}

    decided(
        home, 4, "promote", supersedes=held, decision_id="again", update_id="u-4"
    )  # people approved it: one update, not two
    found = seen(home)
    assert found["tidegate_decisions_total"] == {
        at("assistant", "promote"): 2,
        at("assistant", "reject"): 1,
    }
    assert found["tidegate_rows_total"][at("assistant", "kept")] == 21


def test_evidence_that_is_gone_or_changed_is_counted_as_lost(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    for version in (2, 3, 4):
        decided(home, version, "promote")
    (home.updates / "u-2" / "evidence" / "evidence_data.json.gz").unlink()
    (home.updates / "u-3" / "evidence" / "training.json.gz").write_bytes(b"not gzip")
    found = seen(home)
    assert found["tidegate_evidence_lost_total"] == {at("assistant"): 2}
    assert found["tidegate_training_tokens_total"] == {at("assistant"): 900}
    assert found["tidegate_decisions_total"] == {at("assistant", "promote"): 3}


def test_a_home_where_nothing_happened_yet(tmp_path: Path) -> None:
    assert seen(Home(tmp_path / "home")) == {"tidegate_ledger_entries": {at(): 0}}


def test_the_command_prints_the_text_alone(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    decided(home, 2, "promote")
    ran = CliRunner().invoke(app, ["metrics", "--home", str(home.root)])
    assert ran.exit_code == 0 and read(ran.stdout) == seen(home)
