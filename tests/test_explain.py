"""Rulings in words: what was asked, seen and meant, and what the suite could have seen."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from tests.past import MODEL, POLICY, World, data, digest, model, series
from tidegate.flows.connection import RegistryError
from tidegate.flows.looking_back import explain as module
from tidegate.flows.looking_back.explain import (
    Explained,
    ExplainedRuling,
    explain,
    show_explained,
)
from tidegate.flows.registry import Registry
from tidegate.flows.usage import UsageError
from tidegate.gates.audit import statement
from tidegate.gates.statistics.power import smallest_visible_loss
from tidegate.gates.types import (
    Action,
    Broken,
    CandidateEvidence,
    Measurement,
    Outcome,
    Ruling,
    Verdict,
)

MORE = """\
  - gate: not_worse
    suite: safety
    than: {champion: 0.1}
    slices: {by: language, worst: 0.15}
    why: no language may pay for another
  - {gate: gains_plausibly, suite: knowledge, at_most: 0.5, why: a leaked exam looks like this}
  - {gate: reaches, suite: exam, at_least: 0.6, why: it must be good enough}
"""


def explained(world: World, version: int, monkeypatch: pytest.MonkeyPatch) -> Explained:
    """Explain from the ledger; the registry's own part is in the slow test."""
    entries = world.ledger.read()
    wanted = [e for e in entries if e[1]["predicate"]["about"].get("version") == str(version)]
    monkeypatch.setattr(module, "statement_of", lambda *_: wanted[0])
    return explain(MODEL, str(version), home=world.home)


def about(found: Explained, gate: str) -> ExplainedRuling:
    return next(ruling for ruling in found.rulings if ruling.gate == gate)


def exam(right: int, n: int = 60) -> Measurement:
    made = series("exam.acc@candidate", 0.0, n)
    values = tuple(float(i < right) for i in range(n))
    return made.model_copy(update={"values": values, "value": right / n})


def with_more(
    evidence: CandidateEvidence, right: int = 55, safety: float = 0.0
) -> CandidateEvidence:
    more = (
        series("safety.margin@champion", 1.0, spread=0.05),
        series("safety.margin@candidate", 1.0 + safety),
        exam(right),
    )
    return evidence.model_copy(update={"measurements": (*evidence.measurements, *more)})


def test_a_rejection_says_which_ruling_decided_and_by_how_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    world.decided(3, data(), model(refusal=-0.3))
    found = explained(world, 3, monkeypatch)
    assert (found.action, found.exit_code, found.broken) == (Action.REJECT, 0, "")
    assert found.says == "not_worse(refusal.margin) decided"
    ruling = about(found, "not_worse(refusal.margin)")
    assert ruling.decided
    assert "at most 0.100 against the champion (what serves today)" in ruling.asks
    assert "0.200 against the anchor (the first release)" in ruling.asks
    assert ruling.why == "refusals may not erode"
    champion, anchor = ruling.seen
    assert champion.startswith("Against the champion: −0.300 an item on average, on all 60")
    assert "95% sure; " in champion
    assert "must be above −0.100" in champion
    assert "must be above −0.200" in anchor
    assert "by more than chance explains" in ruling.means
    assert ruling.means.endswith("So the update is rejected.")
    assert "it was −0.300" in ruling.otherwise


def test_the_smallest_visible_loss_is_that_of_the_items_and_their_spread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    world.decided(2, data(), model())
    ruling = about(explained(world, 2, monkeypatch), "not_worse(refusal.margin)")
    ours = series("a", 0.0).values
    theirs = series("b", 0.0, spread=0.05).values
    changes = [a - b for a, b in zip(ours, theirs, strict=True)]
    mean = sum(changes) / 60
    sd = (sum((c - mean) ** 2 for c in changes) / 59) ** 0.5
    expected = smallest_visible_loss(sd, 60, alpha=0.05, power=0.8)
    assert (
        f"the smallest loss that this suite can tell from none is {expected:.3f}"
        in (ruling.visible[0])
    )
    assert "power 80%" in ruling.visible[0]


def test_a_margin_below_what_the_suite_can_see_names_the_items_it_would_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, POLICY.replace("champion: 0.1, anchor: 0.2", "champion: 0.005"))
    world.decided(2, data(), model())
    ruling = about(explained(world, 2, monkeypatch), "not_worse(refusal.margin)")
    asked = re.search(r"asks for more: about ([\d,]+) items", ruling.visible[0])
    assert asked is not None
    assert int(asked[1].replace(",", "")) > 60
    assert ruling.outcome is Outcome.INCONCLUSIVE
    assert "Not knowing never promotes" in ruling.means
    assert "The same mean on about" in ruling.otherwise


def test_a_promotion_has_no_ruling_that_decided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    world.decided(2, data(), model())
    found = explained(world, 2, monkeypatch)
    assert found.says == "none of its 6 rulings stood in the way"
    assert not any(ruling.decided or ruling.otherwise for ruling in found.rulings)
    assert all(ruling.asks and ruling.why and ruling.seen for ruling in found.rulings)


def test_an_update_that_stopped_at_its_data_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    world.decided(4, data(secrets=10))
    found = explained(world, 4, monkeypatch)
    assert "nothing was measured, so the model gates were never asked" in found.says
    ruling = about(found, "no_secrets")
    assert ruling.asks == (
        "At most 0 kept records contain a secret. What it names is dropped from the batch; "
        "at most 10% of it may be."
    )
    assert ruling.otherwise == "The number seen, 0.2083, would have had to be at most 0.1."
    assert "20 kept records" in about(found, "fits_schema").asks


def test_every_kind_of_comparison_is_said_in_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, POLICY + MORE)
    world.decided(2, data(), with_more(model(knowledge=0.9), right=40, safety=-0.12))
    found = explained(world, 2, monkeypatch)
    safety = about(found, "not_worse(safety.margin)")
    assert "On no language by itself may it lose more than 0.150" in safety.asks
    assert any("on its worst language" in seen for seen in safety.seen)
    assert len(safety.visible) == len(safety.seen) == 2
    cap = about(found, "gains_plausibly(knowledge.margin)")
    assert cap.seen[0].startswith("Against the champion: +0.900 an item")
    assert "the truth at worst is +0.907" in cap.seen[0]
    assert "must be below +0.500" in cap.seen[0]
    assert "a mean below +0.4" in cap.otherwise
    assert "smallest gain" in cap.visible[0]
    level = about(found, "reaches(exam.acc)")
    assert level.seen[0].startswith("0.667 an item on average, on all 60 items")
    assert "must be above 0.600" in level.seen[0]
    assert level.outcome is Outcome.INCONCLUSIVE
    assert "to be shown here" in level.visible[0]


@pytest.mark.parametrize("gone", ["refusal.margin@anchor", "refusal.margin@candidate"])
def test_what_is_missing_or_broken_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    whole = model()
    left = tuple(m for m in whole.measurements if m.name != gone)
    world = World(tmp_path)
    world.decided(2, data(), whole.model_copy(update={"measurements": left}))
    broken = (Broken(name=gone, reason="the weights are not finite"),)
    world.decided(3, data(), whole.model_copy(update={"measurements": left, "broken": broken}))
    missing = about(explained(world, 2, monkeypatch), "not_worse(refusal.margin)")
    assert missing.outcome is Outcome.MISSING
    assert gone in missing.seen[0]
    assert missing.otherwise == "The measurement would have had to be made."
    error = about(explained(world, 3, monkeypatch), "not_worse(refusal.margin)")
    assert "the weights are not finite" in error.seen[0]
    assert "counts as not passed" in error.means


def test_too_few_items_see_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = tuple(
        series(m.name, m.value, n=4) if m.name.startswith("refusal") else m
        for m in model().measurements
    )
    world = World(tmp_path)
    world.decided(2, data(), CandidateEvidence(subject=digest("c"), measurements=few))
    ruling = about(explained(world, 2, monkeypatch), "not_worse(refusal.margin)")
    assert ruling.outcome is Outcome.ERROR
    assert "too few" in ruling.seen[0]


def test_waivers_and_rulings_of_no_gate_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    verdict = Verdict(outcome=Outcome.FAIL, reason="the recipe is outside the envelope")
    outside = Ruling(
        gate="envelope", title="envelope", verdict=verdict, action=Action.HOLD, why="a test"
    )
    waived = {"learned(update.answer_nll)": Action.PROMOTE}
    world.decided(2, data(), model(gain=0.0), waived=waived, others=(outside,))
    found = explained(world, 2, monkeypatch)
    assert found.says == "envelope decided"
    assert about(found, "envelope").seen == ("the recipe is outside the envelope",)
    ruling = about(found, "learned(update.answer_nll)")
    assert ruling.waived == digest("a waiver")
    assert ruling.means.endswith("It does not stand in the way of the update.")


def test_without_its_evidence_the_statement_speaks_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    world.decided(3, data(), model(refusal=-0.3))
    (world.folder("u-3") / "evidence_model.json.gz").unlink()
    found = explained(world, 3, monkeypatch)
    assert found.exit_code == 4
    assert "is gone" in found.broken
    assert found.says == "not_worse(refusal.margin) decided"
    assert about(found, "not_worse(refusal.margin)").seen[0].startswith("against the champion")


def test_numbers_that_do_not_come_out_again_are_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the code that judges has changed since."""
    world = World(tmp_path)
    world.decided(2, data(), model())
    honest = module.judge
    worse = model(refusal=-0.3)

    def changed(policy, evidence):  # type: ignore[no-untyped-def]
        return honest(policy, worse if isinstance(evidence, CandidateEvidence) else evidence)

    monkeypatch.setattr(module, "judge", changed)
    found = explained(world, 2, monkeypatch)
    ruling = about(found, "not_worse(refusal.margin)")
    assert ruling.outcome is Outcome.PASS
    assert ruling.seen[1] == module.AGAIN
    assert ruling.asks and not ruling.visible
    assert about(found, "no_secrets").seen[0].startswith("records with a secret")


def test_what_no_gate_decided_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path)
    world.ledger.append(
        statement(
            act="bless",
            model=MODEL,
            subjects={"base": digest("base")},
            about={"decision_id": "b", "action": "promote", "reason": "the base as released"},
            decided_at=datetime.now(UTC),
        )
    )
    monkeypatch.setattr(module, "statement_of", lambda *_: world.ledger.read()[0])
    found = explain(MODEL, "1", home=world.home)
    assert found.says == "no gate was asked: the base as released"
    assert found.exit_code == 0


def test_a_statement_about_another_version_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """gov.statement is a tag, and whoever can write tags can point it elsewhere."""
    world = World(tmp_path)
    world.decided(2, data(), model())
    monkeypatch.setattr(module, "statement_of", lambda *_: world.ledger.read()[0])
    with pytest.raises(UsageError, match="about another version"):
        explain(MODEL, "3", home=world.home)
    with pytest.raises(UsageError, match="about another version"):
        explain("another", "champion", home=world.home)


def test_what_is_shown_fits_and_escapes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (POLICY + MORE).replace(
        "refusals may not erode", "'[red]refusals[/red] may not erode'"
    )
    world = World(tmp_path, text)
    world.decided(3, data(), with_more(model(refusal=-0.3)))
    show_explained(Console(width=100), explained(world, 3, monkeypatch))
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 100
    assert "assistant version 3 was rejected" in shown
    assert "not_worse(refusal.margin): this decided" in shown
    assert "[red]refusals[/red] may not erode" in shown
    assert shown.index("not_worse(refusal") < shown.index("fits_schema")


def test_a_version_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    world = World(tmp_path)
    Registry.open(world.home).ensure_model(MODEL)
    with pytest.raises(RegistryError):
        explain(MODEL, "7", home=world.home)
