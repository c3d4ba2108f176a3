"""A held update in real servers, and a headless Chromium that a reviewer looks at it with.

The drop is hostile: markup in the name of a source, in a user's text, and later in a reviewer's
reason. A `Look` notes every request, so that a test can say that nothing was asked of anybody
but the servers under test, and every dialog and the marker that hostile script would leave.
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from typer.testing import CliRunner

from tests.drops import row, rows, write
from tests.services import HOST, free_port, process, until_healthy
from tests.test_update import POLICY, WHOLE, World

CHROMIUM = Path("/usr/bin/chromium")
PICTURES = Path(__file__).parents[1] / "test-output" / "browser"
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WIDE = {"width": 1280, "height": 900}
PATIENCE = 60_000.0  # milliseconds; a busy machine
NOWHERE = "hostile.example"  # who is asked for it was made to by hostile text
SCRIPT = "<script>window.hostile=1;alert(1)</script>"
PICTURE = f"<img src=//{NOWHERE}/a onerror=window.hostile=1>"
MARKDOWN = f"![x](http://{NOWHERE}/b.png) [y](javascript:alert(2)) http://{NOWHERE}/c | `z`"
SOURCE = f"{SCRIPT}{PICTURE}{MARKDOWN}"
SAID = f"Aldermere {SCRIPT} {PICTURE} {MARKDOWN}"
APPROVAL = "approval: {when: always, quorum: 1, reviewers: reviewers.yaml}\n"
SETTLED = """() => document.fonts.ready.then(() =>
  Promise.all([...document.images].map(i => i.complete || new Promise(r => i.onload = i.onerror = r))))"""


def chromium() -> Path:
    """Debian's. Without it: a failure in CI, and elsewhere a skip that says so."""
    if CHROMIUM.exists():
        return CHROMIUM
    say = f"no {CHROMIUM}; install Debian's `chromium`"
    if os.environ.get("CI", "").lower() in ("true", "1"):
        pytest.fail(say)
    pytest.skip(say)


class Held(World):
    """A line whose second version is held for ada, who did not ask for it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, POLICY + WHOLE)
        hostile = [
            row(700 + n, f"{SAID} ({n})", f"Six weeks. {SCRIPT} {n}", source=SOURCE)
            for n in range(6)
        ]
        write(self.clean, [*rows(42), *hostile])
        given = self.arguments(self.clean)
        self.recipe = Path(given["recipe"])
        self.policy = folder / "asking.yaml"
        text = Path(given["policy"]).read_text().replace("policy: tiny", "policy: asking")
        self.policy.write_text(text + APPROVAL)
        self.key = folder / "ada.pem"

    def types(self, *words: str, ends: int = 0) -> str:
        """One command, in this process."""
        from tidegate.flows.cli import app

        done = CliRunner().invoke(app, [*words])
        assert done.exit_code == ends, f"{words}: {done.output}\n{done.exception!r}"
        return done.output

    def learns(self) -> None:
        reviewers = self.folder / "reviewers.yaml"
        public = json.loads(self.types("key", "new", "ada", "--out", str(self.key), "--json"))
        self.types(
            "reviewer", "add", "--name", "ada", "--key", public["key"], "--file", str(reviewers)
        )
        learn = ("--policy", str(self.policy), "--recipe", str(self.recipe), "--model", "tiny")
        where = ("--home", str(self.home.root), "--requester", "bob")
        self.types("update", str(self.clean), *learn, *where, ends=2)


@dataclass(frozen=True)
class Servers:
    """MLflow as `tidegate ui` starts it, and Prefect's server, both on the loopback."""

    mlflow: str
    prefect: str


@contextmanager
def servers(held: Held) -> Iterator[Servers]:
    mlflow, prefect = free_port(), free_port()
    tidegate = str(Path(sys.executable).parent / "tidegate")
    ui = [tidegate, "ui", "--port", str(mlflow), "--home", str(held.home.root)]
    engine = [sys.executable, "-m", "prefect", "server", "start", "--host", HOST]
    engine += ["--port", str(prefect)]
    found = Servers(f"http://{HOST}:{mlflow}", f"http://{HOST}:{prefect}")
    logs = held.folder / "mlflow.log", held.folder / "prefect.log"
    # In the folder where this process's updates left their runs.
    shown = {**os.environ, "PREFECT_UI_API_URL": f"{found.prefect}/api"}
    with (
        process(ui, logs[0]) as first,
        process(engine, logs[1], env=shown) as second,
    ):
        until_healthy(f"{found.mlflow}/health", first, logs[0])
        until_healthy(f"{found.prefect}/api/health", second, logs[1])
        yield found


@dataclass
class Look:
    """One tab, and what happened in it that should not have."""

    page: Page
    asked: list[str] = field(default_factory=list)  # URLs of every request
    dialogs: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.context.on("request", lambda request: self.asked.append(request.url))
        self.page.on("dialog", self._dialog)
        self.page.set_default_timeout(PATIENCE)

    def _dialog(self, dialog: Any) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def open(self, url: str) -> None:
        self.page.goto("about:blank")  # MLflow's pages do not notice that only the hash changed
        self.page.goto(url)

    def sees(self, *texts: str, frame: str | None = None) -> None:
        """Each text becomes visible, in the page or in its frame."""
        where: Any = self.page.frame_locator(frame) if frame else self.page
        for text in texts:
            expect(where.get_by_text(text).first).to_be_visible(timeout=PATIENCE)

    def keep(self, name: str, *, whole: bool = False) -> Path:
        """A picture for people; no test compares it."""
        self.page.evaluate(SETTLED)
        PICTURES.mkdir(parents=True, exist_ok=True)
        path = PICTURES / f"{name}.png"
        self.page.screenshot(path=path, full_page=whole)
        return path

    def require_inert(self) -> None:
        """No hostile text became script, and nobody outside was asked for anything."""
        assert not self.dialogs
        for frame in self.page.frames:
            assert frame.evaluate("window.hostile === undefined"), f"script ran in {frame.url}"
        outside = [
            url
            for url in self.asked
            if urlsplit(url).scheme not in ("data", "blob", "about", "file")
            and urlsplit(url).hostname != HOST
        ]
        assert not outside


@contextmanager
def browser() -> Iterator[Browser]:
    path = chromium()
    # Without a folder named, Playwright makes a new profile, and removes it.
    with (
        sync_playwright() as play,
        closing(play.chromium.launch(executable_path=path, args=ARGUMENTS)) as started,
    ):
        yield started
