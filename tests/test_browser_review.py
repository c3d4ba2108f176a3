"""From a notification to a signed decision, in a browser: what a reviewer finds, and what stays inert."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.browsing import (
    NOWHERE,
    SCRIPT,
    WIDE,
    Held,
    Look,
    Servers,
    browser,
    chromium,
    servers,
)
from tidegate.flows.ledger import Ledger
from tidegate.flows.registry import Registry

pytestmark = pytest.mark.slow
FRAME = "iframe"  # in which MLflow shows a file
REASON = f"read it {SCRIPT} ![x](http://{NOWHERE}/d.png) <img src=//{NOWHERE}/e>"


@dataclass(frozen=True)
class Seen:
    held: Held
    servers: Servers
    look: Look
    run_id: str
    experiment: str

    @property
    def version(self) -> str:
        return f"{self.servers.mlflow}/#/models/tiny/versions/2"

    @property
    def run(self) -> str:
        return f"{self.servers.mlflow}/#/experiments/{self.experiment}/runs/{self.run_id}"

    def file(self, path: str) -> Path:
        return self.held.home.mlflow_artifacts / self.run_id / "artifacts" / path


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    chromium()  # before the seconds that all else takes
    held = Held(tmp_path_factory.mktemp("held"))
    held.learns()
    registry = Registry.open(held.home)
    run_id = registry.find("tiny", "2").run_id
    with servers(held) as running, browser() as started:
        tab = started.new_context(viewport=WIDE, locale="en-US").new_page()
        yield Seen(held, running, Look(tab), run_id, registry.runs.experiment_of(run_id))


def test_the_notification_names_the_version_and_the_page_is_there(seen: Seen) -> None:
    """Verdict first, then how to decide; what it learned and lost; the statement's digest."""
    look = seen.look
    look.open(seen.version)
    digest, _ = Ledger(seen.held.home.ledger).read()[-1]
    look.sees("HELD", "waits for 1 of model-reviewer")
    look.sees("tidegate approve 2 --model tiny --key KEY.pem")
    look.sees("What it learned:", "Lost most against the champion:", "fits_schema", digest)
    where = [
        look.page.get_by_text(text).first.bounding_box()
        for text in ("HELD", "To decide:", "fits_schema", "What it learned:")
    ]
    heights = [box["y"] for box in where if box]
    assert len(heights) == 4 and heights == sorted(heights) and heights[2] < WIDE["height"]
    pictures = look.page.locator("img[src*=get-artifact]")
    assert pictures.count() == 3
    look.page.evaluate("document.querySelector('img[src*=get-artifact]').scrollIntoView()")
    look.keep("version-plots")
    for one in pictures.all():
        box = one.bounding_box()
        assert box and box["x"] + box["width"] <= look.page.viewport_size["width"] - 336, (
            "a picture is cut off where MLflow's assistant is open"
        )
        assert one.evaluate("i => i.naturalWidth") > 0
    look.page.evaluate("document.querySelector('h1').scrollIntoView({block: 'center'})")
    look.keep("version-held")
    look.require_inert()


def test_the_run_has_plots_and_the_report_as_mlflow_shows_it(seen: Seen) -> None:
    look = seen.look
    look.open(seen.run)
    look.sees("HELD")
    look.keep("run")
    look.open(f"{seen.run}/artifacts/report/index.html")
    look.sees("Held", "To decide:", "approval", frame=FRAME)
    look.keep("run-report")
    inside = look.page.frames[-1]
    width = inside.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert width[0] <= width[1], "the report is cut off in MLflow's pane"
    look.require_inert()
    look.open(f"{seen.run}/artifacts/plots/changes.png")
    look.sees("changes.png")
    look.keep("run-plot")
    look.require_inert()


def test_the_report_as_a_file_shows_hostile_text_as_text(seen: Seen) -> None:
    look = seen.look
    look.open(seen.file("report/index.html").as_uri())
    look.sees("Held", "Rulings", "Sources", SCRIPT, "Provenance")
    assert (
        look.page.locator("script, iframe, form, a[href^='http'], img[src^='http']").count()
        == 0
    )
    assert "Aldermere" not in look.page.content(), "a user's text is in the report"
    look.keep("report", whole=True)
    look.require_inert()


def test_data_docs_lead_to_their_pages_and_hold_no_text_of_users(seen: Seen) -> None:
    look = seen.look
    docs = seen.file("data_docs")
    look.open((docs / "index.html").as_uri())
    look.page.get_by_role("link", name="kept-signals").click()
    look.sees(
        "Expectation Validation Result", "Evaluated Expectations", "values must be less than"
    )
    marks = look.page.locator("td .fa-check-circle")
    assert "met" in marks.first.evaluate("i => getComputedStyle(i, '::before').content")
    look.keep("data-docs")
    for page in sorted(docs.rglob("*.html")):
        look.open(page.as_uri())
        shown = look.page.content()
        assert "Aldermere" not in shown and "hostile" not in shown, page
        assert look.page.locator("script, iframe, [src^='http']").count() == 0
    look.require_inert()


def test_a_or_b_is_answered_before_the_key_is_opened(seen: Seen) -> None:
    look = seen.look
    look.open(f"{seen.run}/artifacts/report/blind.html")
    look.sees("A or B?", "The key is the file", frame=FRAME)
    look.keep("run-blind")
    look.require_inert()
    look.open(seen.file("report/blind.html").as_uri())
    asked = look.page.locator("section.flip")
    assert asked.count() == 12
    assert all(one.locator(".sides > div").count() == 2 for one in asked.all())
    look.keep("blind")
    look.open(seen.file("report/blind_key.html").as_uri())
    look.sees("Key to A or B")
    assert look.page.locator("tbody tr").count() == 12
    look.keep("blind-key")
    look.require_inert()


def test_the_engine_shows_the_rulings(seen: Seen) -> None:
    """Prefect's first UI: the second asks an analytics service, whatever it is told."""
    look = seen.look
    look.open(f"{seen.servers.prefect}/runs")
    look.page.get_by_role("link", name="update").first.wait_for()
    look.keep("prefect-runs")
    look.open(f"{seen.servers.prefect}/artifacts")
    look.page.get_by_text("rulings-").first.click()
    look.sees("Decision about u-")
    look.page.locator("a[href*='/artifacts/artifact/']").first.click()
    look.sees("HELD: tiny version 2", "fits_schema", "waits for 1 of model-reviewer")
    assert "&nbsp;" not in look.page.inner_text("body"), "an entity is shown as it is written"
    look.keep("prefect-rulings")
    look.require_inert()


def test_approved_by_command_the_page_says_so_and_by_whom(seen: Seen) -> None:
    """Last: it decides. The reason is as hostile as a reason can be."""
    look, held = seen.look, seen.held
    ada = ("--model", "tiny", "--key", str(held.key), "--home", str(held.home.root))
    held.types("approve", "2", *ada, "--reason", REASON)
    assert held.aliases["champion"] == "2"
    look.open(seen.version)
    look.sees(
        "PROMOTED, APPROVED BY PEOPLE",
        "6 gates passed, 1 held and was approved.",
        "approved by",
        "ada",
        "read it <script>",
    )
    look.sees("champion")
    look.page.evaluate("document.querySelector('h1').scrollIntoView({block: 'center'})")
    look.keep("version-promoted")
    look.require_inert()
    look.open(f"{seen.run}/artifacts/report/again.html")
    look.sees("Promoted, approved by people", "ada", "read it <script>", frame=FRAME)
    look.keep("run-approved")
    look.require_inert()
