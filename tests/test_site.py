"""The site builds strictly and loads nothing from elsewhere; the tutorial does what it says."""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.test_docs import ROOT
from tests.test_docs_commands import BLOCK, FILE
from tests.tiny import tiny_base
from tidegate.flows.cli import app
from tidegate.flows.home import Home
from tidegate.flows.ledger import Ledger
from tidegate.flows.registry import Registry

pytestmark = pytest.mark.slow
ELSEWHERE = re.compile(
    r"""<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=["']?(?:https?:)?//[^>]*>"""
)
ENDS = re.compile(r"#\s*ends with (\d)\s*$")


def test_the_site_builds_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    command += ["-f", str(ROOT / "infra/mkdocs.yml"), "-d", str(tmp_path / "site")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = sorted((tmp_path / "site").rglob("*.html"))
    assert {"tutorial.html", "threats.html", "index.html"} <= {page.name for page in pages}
    for page in pages:
        text = page.read_text(encoding="utf-8")
        found = [tag for tag in ELSEWHERE.findall(text) if "rel=canonical" not in tag]
        assert not found, f"{page.name}: {found}"
        assert "](.." not in text


def lines(page: str) -> Iterator[tuple[str, int]]:
    """What the tutorial tells to type, with the code that it says this ends with."""
    for block in BLOCK.findall(page):
        for line in block.strip().split("\n"):
            ends = ENDS.search(line)
            yield ENDS.sub("", line).strip(), int(ends[1]) if ends else 0


def test_the_tutorial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command in its order. Other than on the page: the base is tiny and may be silent, and
    what `make`, `export` and `mkdir` do is done here."""
    page = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")
    base = tiny_base(tmp_path / "base")
    shutil.copytree(ROOT / "flows/demo", tmp_path / "flows/demo")
    (tmp_path / "tutorial").mkdir()
    for name, text in FILE.findall(page):
        changed = text.replace("base: smollm2-135m-instruct", f"base: {base}").replace(
            "{gate: serves,", "{gate: serves, max_empty_share: 1.0,"
        )
        (tmp_path / name).write_text(changed, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TIDEGATE_FLOOR")
    monkeypatch.setenv("TIDEGATE_HOME", str(tmp_path / "tutorial/home"))
    typed = 0
    for line, ends in lines(page):
        words = shlex.split(line)
        if words[0] in ("make", "export", "mkdir"):
            continue
        command, _, to = line.partition(" > ")
        words = shlex.split(command)
        if words[0] == "python":
            done = subprocess.run(
                [sys.executable, *words[1:]], capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
            said = done.stdout
        else:
            assert words[0] == "tidegate", line
            result = CliRunner().invoke(app, words[1:])
            assert result.exit_code == ends, f"{line}\n{result.output}\n{result.exception!r}"
            said = result.stdout
            typed += 1
        if to:
            (tmp_path / to).write_text(said, encoding="utf-8")
    assert typed == page.count("\ntidegate ")
    home = Home(tmp_path / "tutorial/home")
    assert Registry.open(home).aliases("tutorial")["champion"] == "1"
    acts = [record["predicate"]["act"] for _, record in Ledger(home.ledger).read()]
    assert acts == ["bless", "decide", "approve", "decide", "rollback"]
