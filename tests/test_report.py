"""The HTML report: whole in itself, and deaf to what its texts would like to be."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.update_example import example, policy, private_suite, stopped_at_the_data
from tidegate.evals.harness import SuiteRun
from tidegate.flows.checking.evidence import GateCount
from tidegate.flows.measure import Measured
from tidegate.flows.reviewing.comparisons import DriftPoint, compare, drift_of, drift_tags
from tidegate.flows.reviewing.cost import costs
from tidegate.flows.reviewing.report import (
    UpdateReport,
    item_texts,
    render_check,
    render_update,
)
from tidegate.flows.reviewing.wording import because, clean, level
from tidegate.gates.comparison import paired
from tidegate.gates.types import (
    Action,
    Broken,
    CandidateEvidence,
    Decision,
    Outcome,
    Ruling,
    Verdict,
)

HOSTILE = "<script>alert(1)</script><img src=x onerror=y>\"' {{ 7*7 }} \u202e\x00"
VOID = {"meta", "img", "wbr", "br", "link", "input"}


class Tags(HTMLParser):
    """Every tag with its attributes; fails on a tag that is closed wrongly."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize(
    ("report", "word"),
    [
        (example(), "Promoted"),
        (example(damage=0.3), "Rejected"),
        (example(gain=0.1), "Held"),
        (stopped_at_the_data(), "Rejected"),
    ],
)
def test_the_page_is_whole_in_itself(report: UpdateReport, word: str) -> None:
    page = render_update(report)
    assert f"<strong>{word}</strong>" in page
    tags = Tags(page).found
    assert not {tag for tag, _ in tags} & {"script", "iframe", "object", "form", "link"}
    assert not [a for _, attrs in tags for a in attrs if a.startswith("on")]
    for tag, attrs in tags:
        if tag == "img":
            assert (attrs["src"] or "").startswith("data:image/png;base64,")
    assert "default-src 'none'" in page
    assert not re.findall(r"https?://", page)


def test_every_ruling_is_told_with_its_numbers_and_its_why() -> None:
    report = example(damage=0.3)
    page = render_update(report)
    assert page.index("✗ fail") < page.index("✓ pass")
    for ruling in report.decision.rulings:
        assert ruling.why in page
    for digest in report.digests.values():
        assert digest.removeprefix("sha256:") in page


def hostile() -> UpdateReport:
    """Every place that text from outside can reach, filled with markup."""
    full = example()
    verdict = Verdict(outcome=Outcome.ERROR, reason=HOSTILE)
    ruling = Ruling(
        gate=HOSTILE, title=HOSTILE, verdict=verdict, action=Action.REJECT, why=HOSTILE
    )
    evidence = full.evidence
    assert evidence is not None and full.trained is not None
    return replace(
        full,
        model=HOSTILE,
        decision=Decision(action=Action.REJECT, rulings=(ruling,)),
        policy=full.policy.model_copy(update={"policy": HOSTILE}),
        batch=full.batch.model_copy(update={"sources": {HOSTILE: 3}}),
        data=replace(full.data, gates=(GateCount(HOSTILE, 2, 1, 1),)),
        evidence=CandidateEvidence(
            subject=evidence.subject,
            measurements=tuple(
                m.model_copy(update={"items": tuple(f"{HOSTILE}{i}" for i in range(m.n))})
                if m.items
                else m
                for m in evidence.measurements
            ),
            broken=(Broken(name=HOSTILE, reason=HOSTILE),),
        ),
        suites=tuple(
            suite.model_copy(
                update={"slices": {f"{HOSTILE}{i}": f"{HOSTILE}{i % 2}" for i in range(200)}}
            )
            for suite in full.suites
        ),
        recipe={HOSTILE: HOSTILE},
        drift=(DriftPoint("1", HOSTILE, 0, 0, 0), DriftPoint("2", HOSTILE, 0, 0, 0)),
        provenance={HOSTILE: HOSTILE},
        notes=(HOSTILE,),
        base_name=HOSTILE,
        base_license=HOSTILE,
    )


def test_text_from_outside_stays_text() -> None:
    page = render_update(hostile())
    tags = Tags(page).found
    assert "script" not in {tag for tag, _ in tags}
    assert all("onerror" not in attrs for _, attrs in tags)
    assert "&lt;script&gt;" in page and "{{ 7*7 }}" in page
    assert "\u202e" not in page and "\x00" not in page


def test_items_of_shipped_suites_are_shown_and_those_of_users_are_not(tmp_path: Path) -> None:
    secret = "why was my card 4111-1111 refused"
    full = example()
    report = replace(full, suites=(*full.suites, private_suite(tmp_path, secret)))
    assert full.comparisons[0].worst
    page = render_update(report)
    worst = full.comparisons[0].worst[0].id
    assert worst in page
    assert item_texts(full.suites)[f"refusal/{worst}"][:30].split("'")[0] in page
    assert "ticket-" in page and secret not in page
    assert not any(key.startswith("update/") for key in item_texts(report.suites))


def test_a_check_links_to_the_data_docs_if_there_are_any() -> None:
    full = example()
    for link, there in (("data_docs/index.html", True), (None, False)):
        page = render_check(
            decision=full.decision,
            policy=full.policy,
            batch=full.batch,
            data=full.data,
            decided_at=full.decided_at,
            data_docs=link,
        )
        Tags(page)
        assert "<strong>Fit to train on</strong>" in page
        assert ('href="data_docs/index.html"' in page) is there


def test_numbers_are_those_of_the_gates() -> None:
    report = example()
    assert report.evidence is not None
    for found in report.comparisons:
        changes = paired(report.evidence, found.suite, found.metric, found.than).values
        assert found.mean == pytest.approx(sum(changes) / len(changes))
        assert found.low < found.mean < found.high
    seen = {r.title: r.verdict.observed for r in report.decision.rulings}
    learned = next(c for c in report.comparisons if c.gain)
    assert seen["learned(update.answer_nll)"] == pytest.approx(learned.low)
    refusal = [c for c in report.comparisons if c.suite == "refusal"]
    assert [(c.than, c.limit) for c in refusal] == [("champion", -0.1), ("anchor", -0.2)]
    assert seen["not_worse(refusal.margin)"] in [pytest.approx(c.low) for c in refusal]


def test_the_worst_items_show_what_each_model_scored() -> None:
    report = example()
    assert report.evidence is not None
    refusal = report.comparisons[0]
    worst = refusal.worst[0]
    by_role = {
        role: dict(zip(m.items, m.values, strict=True))[worst.id]
        for role, m in report.measured()[refusal.name].items()
    }
    assert worst.scores == by_role and by_role.keys() == {"candidate", "champion", "anchor"}
    assert worst.change == pytest.approx(by_role["candidate"] - by_role["champion"])
    page = render_update(report)
    assert all(level(score) in page for score in by_role.values())


@pytest.mark.parametrize(("cached", "said"), [(False, "1.5"), (True, "0.0")])
def test_what_measuring_cost_is_told_by_gate(cached: bool, said: str) -> None:
    report = example()
    assert report.evidence is not None
    kept = {"version": 1, "items": 60, "tokens": 7000, "seconds": 1.5}
    runs = tuple(
        SuiteRun(suite="refusal", role=role, cached=cached or role != "candidate", **kept)
        for role in ("candidate", "champion", "anchor")
    )
    found = costs(report.policy, Measured(report.evidence, runs, "it ended"))
    refusal = next(cost for cost in found if cost.gate == "not_worse(refusal.margin)")
    fresh = 0 if cached else 1
    assert (refusal.items, refusal.tokens) == (60 * fresh, 7000 * fresh)
    assert (refusal.runs, refusal.kept) == (3, 3 - fresh)
    page = render_update(replace(report, costs=found))
    assert "What measuring cost" in page and f'<td class="n">{said}</td>' in page
    assert "What measuring cost" not in render_update(report)


def test_what_could_not_be_compared_is_said() -> None:
    full = example()
    assert full.evidence is not None
    left = [m for m in full.evidence.measurements if not m.name.startswith("honesty")]
    evidence = full.evidence.model_copy(update={"measurements": tuple(left)})
    made, refused = compare(policy(), evidence)
    assert "honesty" not in {c.suite for c in made}
    assert {(no.name, no.than) for no in refused} == {
        ("honesty.margin", "champion"),
        ("honesty.margin", "anchor"),
    }
    page = render_update(replace(full, evidence=evidence))
    assert "honesty.margin was not compared with the anchor" in page


def test_a_model_that_hardly_refuses_is_named_as_such() -> None:
    assert "declines only 24%" in example().remarks()[0]


def test_drift_is_kept_in_a_tag() -> None:
    report = example()
    tags = drift_tags(report.comparisons)
    points = drift_of("7", tags)
    anchors = [c for c in report.comparisons if c.than == "anchor"]
    assert [p.name for p in points] == [c.name for c in anchors]
    assert points[0].mean == pytest.approx(anchors[0].mean, abs=1e-6)
    for spoilt in ("", "[]", "{", json.dumps({"x": [1]}), json.dumps({"x": "abc"})):
        assert drift_of("7", {"gov.drift": spoilt}) == ()
    assert drift_of("7", {}) == () and drift_tags(()) == {}


def test_wording() -> None:
    assert because(example().decision) == "All 12 gates passed."
    assert because(example(damage=0.3).decision).startswith("not_worse(refusal.margin): ")
    assert clean("a\nb\x00\u202ec") == "a b��c"
