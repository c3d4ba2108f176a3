"""`tidegate policy lint`: what a policy gets wrong although it loads, with file and line.

The rules are in gates/policy/lint.py. Here is what they need from outside: the sizes of the
suites, the calibration beside the policy, and the lines of the files.
"""

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.markup import escape

from tidegate.evals.suite import KINDS, Suite, find_suites
from tidegate.flows.rules import read_policy
from tidegate.gates.gate import load_gates
from tidegate.gates.made import FIXED
from tidegate.gates.policy.calibration import (
    CalibrationError,
    calibration_path,
    read_calibration,
)
from tidegate.gates.policy.finding import Finding, Place, SuiteFacts
from tidegate.gates.policy.lint import lint
from tidegate.gates.policy.load import STAGES, PolicyError
from tidegate.gates.types import Noun
from tidegate.gates.yaml_file import Where, YamlFile

SLICED_BY = "slice"  # the one label that an item of a suite has
MADE = {name: SuiteFacts(metrics=KINDS["multiple_choice"]) for name in FIXED}  # for one update
MENDED_FIRST = "mend this first; nothing else was looked at"


class Placed(Noun):
    """A finding, and the line that a person would change."""

    severity: Literal["refuse", "warn"]
    title: str
    found: str
    would_do: str
    file: str
    line: int | None


class Linted(Noun):
    """All that was found in one policy."""

    policy: str
    findings: tuple[Placed, ...]

    @property
    def exit_code(self) -> int:
        return 3 if any(finding.severity == "refuse" for finding in self.findings) else 0


def lint_policy(
    path: Path, *, floor: Path | None = None, suites_folder: Path | None = None
) -> Linted:
    """Lint a policy file; `suites_folder` has further suites that it may name.

    A policy or a calibration that cannot be read is one refused finding. Raises SuiteError
    for a suite that cannot be used.
    """
    try:
        policy = read_policy(path, floor)
        calibration = read_calibration(path)
    except PolicyError as error:
        return Linted(policy=str(path), findings=(_unreadable(path, error),))
    except CalibrationError as error:
        return Linted(policy=str(path), findings=(_unreadable(calibration_path(path), error),))
    found = lint(policy, suite_facts(suites_folder), calibration)
    files = _files(path)
    placed = tuple(_place(finding, files) for finding in found)
    return Linted(policy=str(path), findings=placed)


def suite_facts(folder: Path | None = None) -> Mapping[str, SuiteFacts]:
    """The shipped suites and those of a folder, as a policy sees them."""
    suites = find_suites(folders=[folder] if folder else [])
    return MADE | {suite.name: _facts(suite) for suite in suites}


def _facts(suite: Suite) -> SuiteFacts:
    sizes = dict(Counter(suite.slices.values()))
    return SuiteFacts(n=suite.n, metrics=suite.metrics, slices={SLICED_BY: sizes})


def _unreadable(path: Path, error: ValueError) -> Placed:
    said = re.match(r"(?P<file>.+?):(?:(?P<line>\d+):)? (?P<found>.+)", str(error), re.DOTALL)
    return Placed(
        severity="refuse",
        title="policy",
        found=said["found"] if said else str(error),
        would_do=MENDED_FIRST,
        file=said["file"] if said else str(path),
        line=int(said["line"]) if said and said["line"] else None,
    )


def _files(path: Path) -> list[YamlFile]:
    """The policy's file and those it stands on, child first. The policy was loaded."""
    files = [YamlFile(path)]
    while above := files[-1].data.get("extends"):
        files.append(YamlFile(files[-1].path.parent / above))
    return files


def _place(finding: Finding, files: list[YamlFile]) -> Placed:
    file, where = _nearest(finding.where, files)
    return Placed(
        severity=finding.severity,
        title=finding.title,
        found=finding.found,
        would_do=finding.would_do,
        file=str(file.path),
        line=file.line(where) if where else None,
    )


def _nearest(where: Place, files: list[YamlFile]) -> tuple[YamlFile, Where]:
    """The file that says most of a place, the child before its parents, and how much."""
    said = [(file, _said(where, file.data)) for file in files]
    return max(said, key=lambda pair: len(pair[1]))


def _said(where: Place, data: Any) -> Where:
    """As much of a place as a file states; a gate is found by its title."""
    reached: list[str | int] = []
    for part in where:
        key: str | int | None = part
        if reached and reached[0] in STAGES and isinstance(data, list):
            key = next((i for i, item in enumerate(data) if _title(item) == part), None)
        elif not isinstance(data, dict) or part not in data:
            key = None
        if key is None:
            break
        reached.append(key)
        data = data[key]
    return tuple(reached)


def _title(item: dict[str, Any]) -> str:
    name = item["gate"]
    return load_gates()[name].params.title(name, item)


def show_lint(console: Console, linted: Linted) -> None:
    """One line a finding: where, how bad, what was found, what would do."""
    for finding in linted.findings:
        line = "" if finding.line is None else f":{finding.line}"
        colour = "red" if finding.severity == "refuse" else "yellow"
        console.print(
            f"{escape(finding.file + line)}: [{colour}]{finding.severity}[/] "
            f"[bold]{escape(finding.title)}[/]: {escape(finding.found)}; "
            f"{escape(finding.would_do)}",
            highlight=False,
            soft_wrap=True,
        )
    refused = sum(finding.severity == "refuse" for finding in linted.findings)
    warned = len(linted.findings) - refused
    if linted.findings:
        console.print(f"{refused} refused, {warned} warned", highlight=False)
    else:
        console.print("nothing found")
