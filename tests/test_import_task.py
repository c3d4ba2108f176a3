"""A task of lm-eval becomes a suite on disk; a folder of lm-eval tasks stands for the registry."""

import json
from pathlib import Path

import pytest

from tidegate.evals.import_task import import_task
from tidegate.evals.suite import SuiteError, find_suites

TASK = """\
task: tides
dataset_path: json
dataset_kwargs: {data_files: {test: FILE}}
test_split: test
output_type: KIND
doc_to_text: "Question: {{q}}\\nAnswer:"
doc_to_choice: "{{options}}"
doc_to_target: right
metadata: {version: 3.0}
"""
ROWS = [
    {"q": "What pulls the tides?", "options": ["The moon", "The wind"], "right": 0},
    {"q": "How many tides a day?", "options": ["None", "Two", "Nine"], "right": 1},
]


def registry(
    folder: Path, kind: str = "multiple_choice", right: list[int] | None = None
) -> Path:
    file = folder / "tides.json"
    rows = [{**row, "right": row["right"] if right is None else right} for row in ROWS]
    file.write_text("\n".join(json.dumps(row) for row in rows))
    tasks = folder / "tasks"
    tasks.mkdir()
    text = TASK.replace("FILE", str(file)).replace("KIND", kind)
    if kind != "multiple_choice":
        text = text.replace('doc_to_choice: "{{options}}"\n', "")
    (tasks / "tides.yaml").write_text(text)
    return tasks


def test_a_task_becomes_a_suite_that_a_policy_can_name(tmp_path: Path) -> None:
    suite = import_task("tides", tmp_path / "suites", registry=registry(tmp_path))
    assert (suite.name, suite.n, suite.about["source"]) == ("tides", 2, "lm-eval task tides")
    found = find_suites(["tides", "refusal"], folders=[tmp_path / "suites"])
    assert [s.name for s in found] == ["tides", "refusal"]
    assert "Question: What pulls the tides?\nAnswer:" in suite.texts()


def test_the_same_task_gives_the_same_suite(tmp_path: Path) -> None:
    tasks = registry(tmp_path)
    one = import_task("tides", tmp_path / "one", registry=tasks)
    two = import_task("tides", tmp_path / "two", registry=tasks)
    assert one.digest == two.digest


@pytest.mark.parametrize(
    ("name", "kind", "right", "says"),
    [
        ("tide", "multiple_choice", None, "no task 'tide'"),
        ("tides", "loglikelihood", None, "not multiple_choice"),
        ("tides", "multiple_choice", [0, 1], "no single right answer"),
    ],
)
def test_what_cannot_be_imported_is_said(
    tmp_path: Path, name: str, kind: str, right: list[int] | None, says: str
) -> None:
    with pytest.raises(SuiteError, match=says):
        import_task(name, tmp_path / "suites", registry=registry(tmp_path, kind, right))
    assert not (tmp_path / "suites" / "tides.yaml").exists()
