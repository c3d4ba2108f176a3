"""Who may import whom. The arrows are in ARCHITECTURE.md; this keeps them true."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOUNS = {"gates.types", "gates.digest", "gates.drafts", "gates.yaml_file"}
MAY_IMPORT = {
    "gates": {"gates"},
    "training": {
        "training",
        *NOUNS,
        "gates.signals.key_tokens",
        "gates.signals.surrogates",  # whether a row was masked
    },
    "evals": {"evals", *NOUNS, "gates.made", "gates.signals.behaviours"},
    "flows": {"flows", "training", "evals", "gates", "policies"},
}
HEAVY = {"torch", "transformers", "peft", "prefect", "mlflow", "lm_eval"}
ONLY_IN_FLOWS = {"prefect", "mlflow"}


def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_a_folder_imports_only_what_it_may(folder: str) -> None:
    for path in ROOT.joinpath(folder).rglob("*.py"):
        for name in imports(path):
            if name.startswith("tidegate."):
                target = name.removeprefix("tidegate.")
                allowed = any(
                    target == a or target.startswith(a + ".") for a in MAY_IMPORT[folder]
                )
                assert allowed, f"{path.relative_to(ROOT)} may not import {name}"


def test_gates_import_nothing_heavy() -> None:
    for path in ROOT.joinpath("gates").rglob("*.py"):
        heavy = {name.split(".")[0] for name in imports(path)} & HEAVY
        assert not heavy, f"{path.relative_to(ROOT)} imports {heavy}: gates read evidence only"


@pytest.mark.parametrize("folder", ["training", "evals"])
def test_only_flows_know_the_registry_and_the_scheduler(folder: str) -> None:
    for path in ROOT.joinpath(folder).rglob("*.py"):
        known = {name.split(".")[0] for name in imports(path)} & ONLY_IN_FLOWS
        assert not known, f"{path.relative_to(ROOT)} imports {known}"


def test_the_core_that_decides_loads_without_anything_heavy() -> None:
    code = (
        "import sys, tidegate.gates.decide as d; d.load_gates(); "
        "print(sorted({'torch','daft','mlflow','prefect','great_expectations','pyarrow',"
        "'presidio_analyzer','transformers','lm_eval'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_each_link_of_the_editable_install_points_to_its_folder() -> None:
    for folder in [*MAY_IMPORT, "policies"]:
        assert ROOT.joinpath("infra/editable/tidegate", folder).resolve() == ROOT / folder


def test_every_file_is_short_enough_to_read_at_once() -> None:
    for folder in [*MAY_IMPORT, "tests", "infra"]:
        for path in ROOT.joinpath(folder).rglob("*.py"):
            if "editable" not in path.parts:
                lines = len(path.read_text().splitlines())
                assert lines <= 400, f"{path.relative_to(ROOT)} has {lines} lines"
