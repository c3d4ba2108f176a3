"""What `policy lint` reads, and the file and line that each finding names."""

import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from tests.lint_cases import CALIBRATED, CLEAN, REVIEWERS, not_worse
from tidegate.flows.linting import Linted, lint_policy, show_lint, suite_facts
from tidegate.gates.policy.calibration import calibration_path

SHIPPED = Path(__file__).parents[1] / "policies" / "default.yaml"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "reviewers.yaml").write_text(REVIEWERS)
    return tmp_path


def linted(path: Path) -> Linted:
    return lint_policy(path, floor=path)  # a policy is its own floor


def test_a_finding_has_its_line_and_an_inherited_one_its_parents(folder: Path) -> None:
    (folder / "policy.yaml").write_text(
        CLEAN.replace(*not_worse("suite: refusal, than: {champion: 0.3, anchor: 0.3}"))
    )
    child = folder / "child.yaml"
    child.write_text(
        "policy: child\nversion: 1\nextends: policy.yaml\nwhy: a test\nmodel:\n"
        "  - {gate: learned, at_least: 0.2}\n"
        "  - gate: not_worse\n    suite: refusal\n    than:\n      anchor: 0.2\n"
        "  - gate: not_worse\n    suite: refusals\n    than: {champion: 0.1}\n    why: a test\n"
        "budget: {wall: 2h, eval_items: 10}\n"
    )
    lines = {(f.title, Path(f.file).name, f.line) for f in linted(child).findings}
    assert lines == {
        ("statistics", "policy.yaml", 4),
        ("not_worse(refusal.margin)", "policy.yaml", 11),
        ("not_worse(refusals.margin)", "child.yaml", 12),
        ("budget", "child.yaml", 15),
    }


def test_a_policy_that_cannot_be_read_is_one_refusal(folder: Path) -> None:
    path = folder / "policy.yaml"
    path.write_text(CLEAN.replace("at_least: 0.1", "at_least: -1"))
    result = linted(path)
    [finding] = result.findings
    assert (finding.severity, finding.line, result.exit_code) == ("refuse", 12, 3)
    assert "greater than or equal to 0" in finding.found


def test_a_policy_below_its_floor_is_refused(folder: Path) -> None:
    path, floor = folder / "policy.yaml", folder / "floor.yaml"
    path.write_text(CLEAN)
    floor.write_text(CLEAN.replace("at_least: 0.1", "at_least: 0.2"))
    result = lint_policy(path, floor=floor)
    assert result.exit_code == 3
    assert "looser than the floor" in result.findings[0].found


def test_a_calibration_that_cannot_be_read_is_one_refusal(folder: Path) -> None:
    path = folder / "policy.yaml"
    path.write_text(CLEAN)
    calibration_path(path).write_text("{}")
    [finding] = linted(path).findings
    assert finding.severity == "refuse"
    assert finding.file == str(calibration_path(path))
    assert "policy calibrate" in finding.found


def test_a_calibration_beside_the_policy_is_used(folder: Path) -> None:
    path = folder / "policy.yaml"
    path.write_text(CLEAN)
    assert linted(path).exit_code == 3
    n = suite_facts()["refusal"].n  # of the shipped suite, which these policies name
    gates = {title: g.model_copy(update={"n": n}) for title, g in CALIBRATED.gates.items()}
    as_shipped = CALIBRATED.model_copy(update={"gates": gates})
    calibration_path(path).write_text(as_shipped.model_dump_json())
    result = linted(path)
    assert (result.findings, result.exit_code) == ((), 0)


def test_warnings_alone_exit_with_0_and_everything_is_shown_escaped(folder: Path) -> None:
    path = folder / "policy.yaml"
    path.write_text(CLEAN.replace("noise_floor: {repeats: 2}", ""))
    result = linted(path)
    assert result.exit_code == 0
    finding = result.findings[0].model_copy(update={"found": "[red]found[/nothing]"})
    console = Console(file=StringIO(), width=80)
    show_lint(console, result.model_copy(update={"findings": (finding,)}))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert f"{path}:4: warn statistics: [red]found[/nothing]; run" in shown
    assert shown.endswith("0 refused, 1 warned\n")


def test_the_shipped_suites_are_known_with_their_slices() -> None:
    facts = suite_facts()
    assert facts["refusal"].n == sum(facts["refusal"].slices["slice"].values()) == 242
    assert facts["update"].n is None


def test_of_the_shipped_policy_nothing_is_refused() -> None:
    """Its calibration and its proof are of this very policy."""
    assert [f.title for f in lint_policy(SHIPPED).findings if f.severity == "refuse"] == []


def test_it_loads_nothing_heavy() -> None:
    code = (
        "import sys, tidegate.flows.linting as l; l.suite_facts(); "
        "print(sorted({'torch','daft','mlflow','prefect','lm_eval','pyarrow'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
