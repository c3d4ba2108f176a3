"""A short day (`make day ARGS=--short`): three drops, one of them refused, and a killed worker."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deployed import ROOT
from tests.services import postgres_binaries

pytestmark = pytest.mark.slow


def test_a_short_day_ends_well(tmp_path: Path) -> None:
    postgres_binaries()  # or skip, and say so
    command = [sys.executable, "-m", "infra.day", "--short", "--out", str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads((tmp_path / "day.json").read_text())
    assert [one["action"] for one in said["updates"]] == ["promote", "reject", "promote"]
    assert said["fates"] == {"erased": 0, "learned": 80, "refused": 20, "quarantined": 20}
    assert "killed" in said["disturbed"][0]["what"]
    assert "CRASHED" in {run["state"] for run in said["runs"]}
    assert (tmp_path / "day.svg").read_text().startswith("<?xml")
