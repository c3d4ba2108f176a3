"""`tidegate quarantine …` as a person and as a script sees it."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_quarantine import A, put
from tidegate.flows.home import Home
from tidegate.flows.ledger import Ledger

HOSTILE = "hunter2 \x1b[31m\u202e[bold]"
COMMAND = [sys.executable, "-m", "tidegate.flows.cli", "quarantine"]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    put(home, A, 1, 2, text=HOSTILE)
    return home


def quarantine(home: Home, *words: str) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *words, "--home", str(home.root)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.slow
def test_list_show_and_purge_as_json(home: Home) -> None:
    listed = quarantine(home, "list", "--json")
    assert json.loads(listed.stdout)[0]["gates"] == {"no_secrets": 2}
    shown = quarantine(home, "show", "r1", "--json")
    assert json.loads(shown.stdout)["gates"] == ["no_secrets"]
    assert "hunter2" not in listed.stdout + shown.stdout + shown.stderr
    assert (
        quarantine(home, "purge", "--older-than", "36500d").stdout.strip() == "nothing was due"
    )
    assert json.loads(quarantine(home, "purge", "--batch", A, "--json").stdout)["records"] == 2
    assert json.loads(quarantine(home, "list", "--json").stdout) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["show", "r9"], "no record 'r9' is quarantined"),
        (["show", "r1", "--text"], "on a terminal only"),
        (["purge", "r1", "--older-than", "1d"], "chooses by age"),
        (["purge", "--older-than", "soon"], "--older-than"),
        (["purge", "--batch", "sha256:" + "c" * 64], "nothing of sha256:"),
        (["release", "r1", "--reason", "x", "--key", "none.pem"], "none.pem"),
    ],
    ids=str,
)
def test_wrong_usage_is_exit_3(home: Home, words: list[str], says: str) -> None:
    done = quarantine(home, *words)
    assert done.returncode == 3 and "Traceback" not in done.stderr
    assert says in " ".join(done.stderr.replace("│", "").split())
    assert Ledger(home.ledger).read() == []


@pytest.mark.slow
def test_a_damaged_store_is_exit_4(home: Home) -> None:
    (home.keys / "quarantine.key").unlink()
    for words in (["list"], ["show", "r1"]):
        done = quarantine(home, *words)
        assert done.returncode == 4 and "Restore it" in " ".join(
            (done.stdout + done.stderr).split()
        )


@pytest.mark.slow
def test_text_is_shown_on_a_terminal_without_its_tricks(home: Home) -> None:
    outer, inner = pty.openpty()
    command = [*COMMAND, "show", "r1", "--text", "--home", str(home.root)]
    environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "200", "TERM": "dumb"}
    with subprocess.Popen(command, stdout=inner, stderr=inner, env=environment) as process:
        os.close(inner)
        seen = b""
        while True:
            try:
                piece = os.read(outer, 4096)
            except OSError:  # the other side is closed: Linux says so with EIO
                break
            if not piece:
                break
            seen += piece
    os.close(outer)
    assert process.returncode == 0, seen
    text = seen.decode()
    assert "hunter2" in text and "[bold]" in text
    assert "\u202e" not in text and "\x1b[31m" not in text
    ((_, record),) = Ledger(home.ledger).read()
    assert record["predicate"]["act"] == "look"
