"""`tidegate reviewer add`: one line more, and nothing else touched."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tidegate.flows.approving.reviewers import add_reviewer
from tidegate.flows.commands.reviewer import reviewer as commands
from tidegate.flows.signing.keys import PublicKey, new_key
from tidegate.flows.usage import UsageError
from tidegate.gates.policy.reviewers import load_reviewers
from tidegate.gates.yaml_file import YamlError

ROLES = ("model-reviewer",)


@pytest.fixture
def keys(tmp_path: Path) -> list[PublicKey]:
    return [new_key(tmp_path / f"{n}.pem") for n in range(3)]


@pytest.mark.parametrize(
    "before",
    [
        None,
        "# ours\nreviewers:\n  - {name: zoe, key: KEY, roles: [model-reviewer]}  # since May\n",
        "reviewers:\n- name: zoe\n  key: KEY\n  roles:\n  - model-reviewer",
    ],
    ids=["no file", "indented", "not indented"],
)
def test_a_line_is_added_once_and_comments_stay(
    tmp_path: Path, keys: list[PublicKey], before: str | None
) -> None:
    path = tmp_path / "policies" / "reviewers.yaml"
    if before is not None:
        path.parent.mkdir()
        path.write_text(before.replace("KEY", keys[0].key))
    assert add_reviewer(path, 'a "da": #1', keys[1], ROLES)
    assert not add_reviewer(path, 'a "da": #1', keys[1], ROLES)
    assert add_reviewer(path, "bob", keys[2], ("auditor", "model-reviewer"))
    found = load_reviewers(path)
    assert [r.name for r in found][-2:] == ['a "da": #1', "bob"]
    assert len(found) == (2 if before is None else 3)
    if before is not None:
        assert path.read_text().startswith(before.replace("KEY", keys[0].key).rstrip())
    assert [p.name for p in path.parent.iterdir()] == ["reviewers.yaml"]


def test_what_cannot_be_added_leaves_the_file(tmp_path: Path, keys: list[PublicKey]) -> None:
    path = tmp_path / "reviewers.yaml"
    add_reviewer(path, "ada", keys[0], ROLES)
    before = path.read_bytes()
    for name, key, roles in (
        ("ada", keys[1], ROLES),
        ("bob", keys[0], ROLES),
        ("ada", keys[0], ("auditor",)),
    ):
        with pytest.raises(UsageError, match="is there already"):
            add_reviewer(path, name, key, roles)
    assert path.read_bytes() == before
    for text, error in (
        ('reviewers: [{name: zoe, key: "KEY", roles: [a]}]\n', UsageError),
        ("reviewers: []\n", YamlError),
        ("reviewers:\n  - {name: zoe}\n", YamlError),
    ):
        path.write_text(text.replace("KEY", keys[2].key))
        with pytest.raises(error):
            add_reviewer(path, "bob", keys[1], ROLES)
        assert path.read_text() == text.replace("KEY", keys[2].key)
    assert not list(tmp_path.glob(".*"))


def test_the_command(tmp_path: Path, keys: list[PublicKey]) -> None:
    path = tmp_path / "reviewers.yaml"
    words = ["--name", "ada", "--key", keys[0].key, "--file", str(path), "--json"]
    for added in (True, False):
        done = CliRunner().invoke(commands, words)
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)["added"] is added
    (found,) = load_reviewers(path)
    assert (found.name, found.key, found.roles) == ("ada", keys[0].key, ROLES)
