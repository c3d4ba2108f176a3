"""The review page: a golden file, MLflow's limit of length, and text that wants to be markup."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.update_example import example, stopped_at_the_data
from tidegate.flows.checking.evidence import GateCount
from tidegate.flows.reviewing.blind import Blind, Flip
from tidegate.flows.reviewing.page import LONGEST, escaped, review_page
from tidegate.flows.reviewing.report import UpdateReport
from tidegate.gates.types import Action, Decision, Outcome, Ruling, Verdict

GOLDEN = Path(__file__).parent / "golden"
HOSTILE = (
    "<img src=x onerror=alert(1)> | **x** ![a](http://evil/) `c` [l](//evil)\n# h\u202e @me"
)


def ruled(*rulings: Ruling) -> UpdateReport:
    return replace(example(), decision=Decision(action=Action.REJECT, rulings=rulings))


def ruling(reason: str, title: str = "no_such_gate", outcome: Outcome = Outcome.FAIL) -> Ruling:
    verdict = Verdict(outcome=outcome, reason=reason, observed=1.0, limit=0.0)
    action = Action.PROMOTE if outcome is Outcome.PASS else Action.REJECT
    return Ruling(gate="g", title=title, verdict=verdict, action=action, why="because")


@pytest.mark.parametrize(
    ("name", "report"),
    [
        ("review_promoted", example()),
        ("review_rejected", example(damage=0.3)),
        ("review_stopped", stopped_at_the_data()),
    ],
)
def test_the_page_is_the_golden_one(name: str, report: UpdateReport) -> None:
    """To accept a change: write the new page into the file, and read it before committing."""
    assert review_page(report) + "\n" == (GOLDEN / f"{name}.md").read_text(encoding="utf-8")


def test_the_decision_comes_first_and_the_worst_gate_leads_the_table() -> None:
    page = review_page(example(damage=0.3))
    assert page.startswith("# REJECTED\n\n**not\\_worse\\(refusal.margin\\)")
    rows = [line for line in page.splitlines() if line.startswith("| ✗") or "✓" in line]
    assert "✗" in rows[0] and all("✓" in row for row in rows[1:])


def test_who_may_decide_is_told_how_and_what_to_look_at_first() -> None:
    flip = Flip("honesty", "h-1", "q", {"A": "a", "B": "b"}, "A", None, 1.0)
    look = Blind(seed="s", flips=(flip,), flipped=1, compared=80, private=0)
    page = review_page(replace(example(gain=0.1), blind=look, model="a`b"))
    asked = "7 --model ab --key KEY.pem --reason …`"
    assert f"To decide: `tidegate approve {asked} or `tidegate refuse {asked}" in page
    assert page.index("To decide") < page.index("| verdict |")
    assert page.index("[A or B, blind](") < page.index("[Full report](")
    assert "**Lost most against the champion:** " in page
    assert f"Statement `{example().statement}`." in page
    decided = review_page(example())
    assert "To decide" not in decided and "[A or B" not in decided


def test_pictures_and_report_are_read_from_the_run() -> None:
    page = review_page(example())
    run = example().run_id
    assert f"/get-artifact?path=plots/changes.png&run_uuid={run}" in page
    assert f"/#/experiments/1/runs/{run}/artifacts/report/index.html" in page
    assert f"path=report/index.html&run_uuid={run}" in review_page(
        replace(example(), experiment=None)
    )
    assert "get-artifact" not in review_page(stopped_at_the_data())


@pytest.mark.parametrize(
    "rulings",
    [
        [ruling("x" * 600)] * 12,
        [ruling("ok", title=f"gate_{i}", outcome=Outcome.PASS) for i in range(300)],
        [ruling("|" * 600, title="[" * 600) for _ in range(300)],
    ],
)
def test_the_page_fits_into_every_database_of_mlflow(rulings: list[Ruling]) -> None:
    page = review_page(ruled(*rulings))
    assert len(page) <= LONGEST
    assert page.startswith("# REJECTED")


def test_gates_that_passed_are_named_where_there_is_no_room_for_rows() -> None:
    """As with the shipped policy: about thirty gates, none of which may just vanish."""
    names = [f"a_gate_of_an_ordinary_name_{i}" for i in range(32)]
    many = [ruling("ok " * 40, title=name, outcome=Outcome.PASS) for name in names]
    page = review_page(ruled(*many))
    assert len(page) <= LONGEST
    assert "✓ Passed: " in page and "| verdict |" not in page
    assert all(escaped(name) in page for name in names)
    failed = review_page(ruled(ruling("bad", title="the_bad_one"), *many))
    assert "| ✗" in failed and "the\\_bad\\_one" in failed
    assert all(escaped(name) in failed for name in names)


def test_text_from_outside_stays_text() -> None:
    full = ruled(ruling(HOSTILE, title=HOSTILE))
    report = replace(
        full,
        model=HOSTILE,
        notes=(HOSTILE,),
        data=replace(full.data, gates=(GateCount(HOSTILE, 1, 0, 1),)),
        policy=full.policy.model_copy(update={"policy": HOSTILE}),
        run_id='"><script>',
    )
    page = review_page(report)
    assert "<" not in page and "\u202e" not in page
    assert "http://evil" not in page and "@me" not in page
    links = re.findall(r"(?<!\\)\]\(([^)]*)\)", page)
    assert links and all(
        link.startswith(("/get-artifact?", "/#/experiments/")) for link in links
    )
    for row in (line for line in page.splitlines() if line.startswith("| ✗")):
        assert len(re.findall(r"(?<!\\)\|", row)) == 6


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a|b", "a\\|b"),
        ("<b>", "&lt;b&gt;"),
        ("&amp;", "&amp;amp;"),
        ("two\nlines", "two lines"),
        ("https://x.org", "https&#58;//x.org"),
        ("x" * 300, "x" * 199 + "…"),
    ],
)
def test_escaping(text: str, shown: str) -> None:
    assert escaped(text) == shown
