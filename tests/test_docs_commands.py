"""What the pages tell people to type: the commands and options exist, the files are accepted."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from tests.test_docs import PAGES, ROOT
from tidegate.flows.cli import app
from tidegate.gates.policy.load import load_policy
from tidegate.training.recipe import load_recipe

BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
FILE = re.compile(r'^```yaml title="([^"]+)"\n(.*?)^```', re.MULTILINE | re.DOTALL)


def commands(text: str) -> Iterator[list[str]]:
    """The words after `tidegate`, of each time it is called in the blocks of a page."""
    for block in BLOCK.findall(text):
        for line in block.replace("\\\n", " ").split("\n"):
            yield from _calls(line)


def _calls(line: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;<>")
    lexer.whitespace_split, lexer.commenters = True, "#"
    words: list[str] = []
    for token in [*lexer, ";"]:
        if set(token) <= set("&|;<>"):
            if words and Path(words[0]).name == "tidegate":
                yield words[1:]
            words = []
        else:
            words.append(token)


@pytest.fixture(scope="module")
def root() -> Any:
    return get_command(app)


def parse(root: Any, words: list[str]) -> None:
    """Raise if there is no such command or option, or one is missing."""
    command, context, rest = (
        root,
        root.make_context("tidegate", [], resilient_parsing=True),
        words,
    )
    while hasattr(command, "commands"):
        assert rest, f"{command.name} needs a command"
        assert rest[0] in command.commands, f"there is no {rest[0]}"
        command, rest = command.commands[rest[0]], rest[1:]
        context = command.make_context(command.name, [], parent=context, resilient_parsing=True)
    context.resilient_parsing = False
    given, _, _ = command.make_parser(context).parse_args(rest)
    for parameter in command.params:
        if parameter.required:
            value = given.get(parameter.name)
            assert value not in (None, ()), f"{parameter.name} is missing"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_exist(page: Path, root: Any) -> None:
    for words in commands(page.read_text(encoding="utf-8")):
        try:
            parse(root, words)
        except Exception as no:
            raise AssertionError(f"tidegate {shlex.join(words)}: {no}") from no


@pytest.mark.parametrize("words", ["nothing", "update --no-such d", "approve 2", "policy"])
def test_what_does_not_exist_is_found(words: str, root: Any) -> None:
    with pytest.raises(Exception, match=r".+"):
        parse(root, words.split())


def titled(folder: str) -> list[tuple[Path, str, str]]:
    return [
        (page, name, text)
        for page in PAGES
        for name, text in FILE.findall(page.read_text(encoding="utf-8"))
        if folder in name
    ]


def test_the_files_that_pages_show_are_accepted(
    tmp_path: Path,
) -> None:
    (tmp_path / "default.yaml").write_text((ROOT / "policies/default.yaml").read_text())
    key = "A" * 43 + "="
    people = f"reviewers:\n  - {{name: ada, key: {key}, roles: [model-reviewer]}}\n"
    (tmp_path / "reviewers.yaml").write_text(people)
    policies, recipes = titled("polic"), titled("recipe")
    assert policies and recipes
    for _, name, text in policies:
        path = tmp_path / Path(name).name
        path.write_text(text, encoding="utf-8")
        assert load_policy(path, floor=ROOT / "policies/floor.yaml").model, name
    for _, name, text in recipes:
        path = tmp_path / Path(name).name
        path.write_text(text, encoding="utf-8")
        assert load_recipe(path).why, name
