"""The command line as a script sees it: exit codes, one clear error, JSON that parses."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.drops import row, rows, write

TIDEGATE = str(Path(sys.executable).parent / "tidegate")
POLICY = """\
policy: small
version: 1
why: a test
data:
  - {gate: fits_schema, min_rows: 20, why: an empty drop is an outage}
  - {gate: no_secrets, quarantine: true, max_quarantined_share: 0.1, why: secrets leak}
model:
  - {gate: serves, why: it must load}
"""


def tidegate(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TIDEGATE_HOME": str(folder / "home"), "COLUMNS": "100"}
    return subprocess.run(
        [TIDEGATE, *words],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=folder,
        env=environment,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "policy.yaml").write_text(POLICY)
    return tmp_path


def check(folder: Path, drop: Path | str, *words: str) -> subprocess.CompletedProcess[str]:
    return tidegate(folder, "check", str(drop), "--policy", "policy.yaml", *words)


@pytest.mark.slow
def test_a_clean_drop_is_fit_to_learn_from(folder: Path) -> None:
    drop = write(folder / "drop.jsonl", rows())
    done = check(folder, drop, "--json", "--out", "out", "--emit-kept")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["action"] == "promote"
    assert document["policy"]["name"] == "small"
    assert document["batch"]["rows"] == 48
    assert json.loads((folder / "out/decision.json").read_text()) == document
    said = [json.loads(line) for line in (folder / "out/records.jsonl").open()]
    assert {r["action"] for r in said} == {"keep"}
    kept = [json.loads(line) for line in (folder / "out/kept.jsonl").open()]
    assert {r["id"] for r in kept} == {r["id"] for r in rows()}
    assert (folder / "out/index.html").exists()
    assert (folder / "out/data_docs/index.html").exists()


@pytest.mark.slow
def test_a_drop_full_of_secrets_is_rejected_and_not_repeated(folder: Path) -> None:
    key = "AKIA" + "QWERTYUIOPASDF23"
    bad = [row(900 + n, f"Is {key} right? {n}", "Yes.") for n in range(12)]
    done = check(folder, write(folder / "drop.jsonl", [*rows(24), *bad]), "--out", "out")
    assert done.returncode == 1, done.stderr
    assert "no_secrets" in done.stdout
    for path in (folder / "out").rglob("*"):
        assert path.is_dir() or key.encode() not in path.read_bytes(), path
    assert key not in done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "no such file"),
        ("", "there is not one row"),
        ("{broken\n" * 3, "unreadable"),
    ],
    ids=["missing", "empty", "nothing readable"],
)
def test_a_drop_that_cannot_be_used_is_one_clear_error(
    folder: Path, content: str | None, says: str
) -> None:
    if content is not None:
        (folder / "drop.jsonl").write_text(content)
    done = check(folder, "drop.jsonl", "--out", "out")
    assert done.returncode in (3, 4), done.stdout + done.stderr
    assert says in (done.stdout + done.stderr).lower()
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["check"], "Missing argument"),
        (["check", "x.jsonl", "--polcy", "p"], "No such option"),
        (["check", "x.jsonl", "--policy", "none.yaml"], "none.yaml: cannot be read"),
        (["check", "x.jsonl", "--default", "consent"], "write FIELD=VALUE"),
        (["show", "7"], "assistant"),
        (["rollback", "--model", "nobody", "--reason", "a test"], "nobody"),
        (["ui"], "there is nothing to show yet"),
        (["serve"], "there is nothing to show yet"),
        (["update", "x.jsonl", "--recipe", "none.yaml"], "none.yaml: cannot be read"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
@pytest.mark.slow
def test_wrong_usage_is_one_line_and_exit_3(folder: Path, words: list[str], says: str) -> None:
    done = tidegate(folder, *words)
    assert done.returncode == 3, done.stdout + done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_help_has_examples_and_exit_codes(folder: Path) -> None:
    shown = tidegate(folder, "--help")
    assert shown.returncode == 0
    assert "Exit codes" in shown.stdout
    assert "Example:" in tidegate(folder, "update", "--help").stdout


@pytest.mark.slow
def test_the_doctor_finds_this_installation_well(folder: Path) -> None:
    done = tidegate(folder, "doctor", "--json")
    findings = json.loads(done.stdout)
    bad = [f for f in findings if not f["good"]]
    assert not bad
    assert done.returncode == 0


@pytest.mark.slow
def test_the_doctor_names_a_broken_ledger_and_an_open_key(folder: Path) -> None:
    home = folder / "home"
    (home / "keys").mkdir(parents=True)
    (home / "ledger.jsonl").write_text('{"predicate": {"previous": "sha256:wrong"}}\n')
    (home / "keys" / "pseudonym.key").write_bytes(b"x" * 32)
    (home / "keys" / "pseudonym.key").chmod(0o644)
    done = tidegate(folder, "doctor", "--json")
    bad = {f["what"]: f for f in json.loads(done.stdout) if not f["good"]}
    assert set(bad) == {"ledger", "key pseudonym.key"}
    assert "chmod 600" in bad["key pseudonym.key"]["do"]
    assert done.returncode == 3


@pytest.mark.slow
def test_a_home_that_cannot_be_written_is_named(folder: Path) -> None:
    (folder / "home").write_text("a file where the folder should be")
    done = check(folder, write(folder / "drop.jsonl", rows(24)), "--out", "out")
    assert done.returncode == 3
    assert str(folder / "home") in done.stderr
    assert "Traceback" not in done.stderr
