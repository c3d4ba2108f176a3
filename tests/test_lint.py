"""For each rule a policy that it names, and a twin that it leaves alone."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lint_cases import (
    BUDGET,
    CALIBRATED,
    CASES,
    CLEAN,
    ESCALATE,
    REVIEWERS,
    SUITES,
    calibration,
    not_worse,
)
from tidegate.gates.policy.calibration import Calibration
from tidegate.gates.policy.finding import Finding
from tidegate.gates.policy.lint import lint
from tidegate.gates.policy.load import load_policy
from tidegate.gates.statistics.power import smallest_visible_loss


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "reviewers.yaml").write_text(REVIEWERS)
    return tmp_path


def found(folder: Path, text: str, seen: Calibration | None = CALIBRATED) -> list[Finding]:
    path = folder / "policy.yaml"
    path.write_text(text)
    return list(lint(load_policy(path), SUITES, seen))


def says(findings: list[Finding]) -> Iterator[str]:
    return (f"{f.severity} {f.title}: {f.found}; {f.would_do}" for f in findings)


def test_there_is_nothing_to_find_in_the_clean_policy(folder: Path) -> None:
    assert list(says(found(folder, CLEAN))) == []


def changed(change: tuple[str, str]) -> str:
    assert CLEAN.count(change[0]) == 1, change
    return CLEAN.replace(*change)


@pytest.mark.parametrize("name", CASES)
def test_a_rule_names_what_is_wrong(name: str, folder: Path) -> None:
    wrong, _, said = CASES[name]
    findings = list(says(found(folder, changed(wrong))))
    assert any(said in one for one in findings), findings


@pytest.mark.parametrize("name", CASES)
def test_a_rule_leaves_the_harmless_twin_alone(name: str, folder: Path) -> None:
    _, harmless, _ = CASES[name]
    assert list(says(found(folder, changed(harmless)))) == []


@pytest.mark.parametrize(
    ("seen", "asked", "said"),
    [
        (None, True, "refuse statistics: no A/A runs"),
        (None, False, "warn statistics: no A/A runs"),
        (
            calibration(seeds=1),
            True,
            "refuse statistics: 1 A/A runs where noise_floor asks for 2",
        ),
        (calibration(repeats=1), True, "refuse statistics: 1 A/A runs"),
        (calibration(seeds=1), False, None),
        (
            calibration(gates={"not_worse(text.nll)": CALIBRATED.gates["not_worse(text.nll)"]}),
            True,
            "refuse not_worse(refusal.margin): the A/A runs did not measure this suite",
        ),
        (
            calibration(gates={"not_worse(text.nll)": CALIBRATED.gates["not_worse(text.nll)"]}),
            False,
            "warn not_worse(refusal.margin): the A/A runs did not measure this suite",
        ),
        (
            calibration(
                gates={
                    "not_worse(refusal.margin)": CALIBRATED.gates[
                        "not_worse(refusal.margin)"
                    ].model_copy(update={"n": 90})
                }
            ),
            True,
            "warn not_worse(refusal.margin): the A/A runs measured 90 items; the suite has 110",
        ),
    ],
)
def test_a_calibration_is_of_this_policys_suites(
    seen: Calibration | None, asked: bool, said: str | None, folder: Path
) -> None:
    text = CLEAN if asked else CLEAN.replace("noise_floor: {repeats: 2}", "")
    assert [one[: len(said or "")] for one in says(found(folder, text, seen))] == (
        [said] if said else []
    )


@pytest.mark.parametrize(("base", "findings"), [("0", 0), ("1", 1)])
def test_a_calibration_is_of_the_base_that_is_pinned(
    base: str, findings: int, folder: Path
) -> None:
    pinned = f'envelope: {{base: {{digest: "sha256:{base * 64}"}}}}\ndata:\n'
    assert len(found(folder, CLEAN.replace("data:\n", pinned))) == findings


@pytest.mark.parametrize(("allowed", "severity"), [(15, ["refuse"]), (16, ["warn"]), (110, [])])
def test_a_budget_lasts_for_a_first_look(
    allowed: int, severity: list[str], folder: Path
) -> None:
    text = CLEAN.replace("noise_floor: {repeats: 2}", ESCALATE + ", sequential: {chunk: 16}")
    text = text.replace(BUDGET[0], BUDGET[1] % allowed)
    assert [finding.severity for finding in found(folder, text)] == severity


def test_the_advised_margin_and_the_advised_items_are_enough(folder: Path) -> None:
    text = changed(not_worse("suite: refusal, than: {champion: 0.05}"))
    [finding] = found(folder, text)
    margin, items = re.fullmatch(
        r"allow (\S+) or more, or ask (\d+) items", finding.would_do
    ).groups()  # type: ignore[union-attr]
    assert found(folder, text.replace("champion: 0.05", f"champion: {margin}")) == []
    at = {"alpha": 0.05, "power": 0.8}
    assert smallest_visible_loss(0.3, int(items), **at) <= 0.05
    assert smallest_visible_loss(0.3, int(items) - 1, **at) > 0.05
