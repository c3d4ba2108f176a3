"""A suite: one lm-eval task and its items, in a YAML file and a JSON Lines file.

Anyone's suites can be added: a folder with `NAME.yaml` and `NAME.jsonl` of the shape of
evals/tasks. Items are checked before anything is measured, so that a mistake in one is
named by file and line and never becomes a wrong answer of a model:

    {"id", "slice", "question", "choices": [...], "answer": 0}     multiple choice
    {"id", "slice", "text"}                                        text to predict

An item may also have `"tags": {"language": "en"}`: further ways to slice the suite by.
Items are asked in `Suite.order`, so that the first N are a random sample of the suite.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import yaml
from pydantic import Field, ValidationError, model_validator

from tidegate.gates.digest import digest_file, digest_json, item_order
from tidegate.gates.types import Digest, Noun
from tidegate.gates.yaml_file import did_you_mean

N = TypeVar("N", bound=Noun)
TASKS = Path(__file__).parent / "tasks"
LOADER = TASKS / "items.py"
Metric = Literal["margin", "acc", "answer_nll", "nll"]
KINDS: dict[str, tuple[Metric, ...]] = {
    "multiple_choice": ("margin", "acc", "answer_nll"),
    "loglikelihood_rolling": ("nll",),
}


class SuiteError(ValueError):
    """A suite that cannot be measured, and where the mistake is."""


class Item(Noun):
    """What every item has, whatever it asks."""

    id: str = Field(min_length=1, max_length=256)
    slice: str = Field(min_length=1)
    tags: dict[str, str] = Field(default_factory=dict, description="labels, by dimension")

    @model_validator(mode="after")
    def _slice_is_not_a_tag(self) -> Self:
        if "slice" in self.tags:
            raise ValueError("a tag is named 'slice', which every item has beside its tags")
        return self


class Choices(Item):
    """One question, the answers that are scored as the assistant's reply, and the right one."""

    question: str = Field(min_length=1)
    choices: tuple[str, ...] = Field(min_length=2)
    answer: int = Field(ge=0)

    @model_validator(mode="after")
    def _can_be_told_apart(self) -> Self:
        if self.answer >= len(self.choices):
            raise ValueError(f"answer {self.answer} names none of {len(self.choices)} choices")
        if len(set(self.choices)) != len(self.choices):
            raise ValueError("two choices are the same")
        if any(not choice or choice != choice.strip() for choice in self.choices):
            raise ValueError("a choice is empty, or begins or ends with white space")
        return self

    def texts(self) -> tuple[str, ...]:
        return (self.question, *self.choices)


class Text(Item):
    """One passage whose every token is predicted."""

    text: str = Field(min_length=1)

    def texts(self) -> tuple[str, ...]:
        return (self.text,)


class Suite(Noun):
    """What is asked, and the digest that names the questions and how they are put."""

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    version: int
    task: str = Field(description="name of the lm-eval task")
    kind: Literal["multiple_choice", "loglikelihood_rolling"]
    metrics: tuple[Metric, ...] = Field(min_length=1)
    path: Path = Field(description="the lm-eval task")
    items_path: Path
    items: tuple[str, ...] = Field(description="ids, in the order of the file")
    slices: dict[str, str] = Field(description="the slice of each item")
    tags: dict[str, dict[str, str]] = Field(
        default_factory=dict, description="the label of each item, by dimension"
    )
    digest: Digest
    private: bool = Field(default=False, description="holds text of users: never logged")
    about: dict[str, Any] = Field(default_factory=dict, description="the task's own metadata")

    @property
    def n(self) -> int:
        return len(self.items)

    @property
    def order(self) -> tuple[str, ...]:
        """The items as they are asked: in an order that is random, and always the same.

        The seed is the suite's name: every model and every update then answers the same
        items first, so that baselines are found in the cache and results are never looked
        at to choose the order.
        """
        return tuple(item_order(self.items, self.name))

    def labels(self, items: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """The labels of these items: by their slice, and by every tag."""
        by = {"slice": self.slices, **self.tags}
        return {name: tuple(of[item] for item in items) for name, of in by.items()}

    def texts(self) -> tuple[str, ...]:
        """Every question, choice and passage: what a training batch must not contain."""
        return tuple(text for item in self.read() for text in item.texts())

    def read(self) -> "Iterator[Choices | Text]":
        """The items, in the order of the file."""
        return _read_items(self)


def find_suites(
    names: Sequence[str] | None = None, *, folders: Sequence[Path] = ()
) -> list[Suite]:
    """The suites with these names, or all of them, from the folders and from evals/tasks.

    Raises SuiteError for a name that no folder has, and for a suite that cannot be used.
    """
    found: dict[str, Path] = {}
    for folder in (*folders, TASKS):
        for path in sorted(folder.glob("*.yaml")):
            found.setdefault(path.stem, path)
    for name in names or ():
        if name not in found:
            raise SuiteError(f"there is no suite {name!r}{did_you_mean(name, list(found))}")
    return [load_suite(found[name]) for name in (found if names is None else names)]


def load_suite(path: Path) -> Suite:
    """Read and check one suite. Raises SuiteError with the file, and the line of an item."""
    try:
        task = yaml.load(path.read_text(encoding="utf-8"), Loader=_TaskLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SuiteError(f"{path}: not a task file: {error}") from None
    try:
        about = dict(task["metadata"])
        items_path = path.parent / task["dataset_kwargs"]["file"]
        suite = Suite(
            name=about.pop("suite"),
            version=about.pop("version"),
            metrics=tuple(about.pop("metrics")),
            private=about.pop("private", False),
            task=task["task"],
            kind=task["output_type"],
            path=path,
            items_path=items_path,
            items=(),
            slices={},
            digest=_digest(path, items_path),
            about=about,
        )
    except (KeyError, TypeError) as error:
        raise SuiteError(f"{path}: {error} is missing; see evals/tasks for the shape") from None
    except (ValidationError, OSError) as error:
        raise SuiteError(f"{path}: {error}") from None
    odd = set(suite.metrics) - set(KINDS[suite.kind])
    if odd:
        raise SuiteError(f"{path}: {suite.kind} does not give the metric {min(odd)!r}")
    items = list(_read_items(suite))
    if not items:
        raise SuiteError(f"{items_path}: there are no items")
    return suite.model_copy(
        update={
            "items": tuple(item.id for item in items),
            "slices": {item.id: item.slice for item in items},
            "tags": {
                name: {item.id: item.tags[name] for item in items} for name in items[0].tags
            },
        }
    )


class _TaskLoader(yaml.SafeLoader):
    """Plain YAML; the functions that lm-eval would import stay names."""


_TaskLoader.add_constructor("!function", lambda loader, node: str(node.value))


def _digest(path: Path, items_path: Path) -> Digest:
    parts = {"task": path, "items": items_path, "loader": LOADER}
    return digest_json({name: digest_file(file) for name, file in parts.items()})


def _read_items(suite: Suite) -> Iterator[Choices | Text]:
    shape: type[Choices | Text] = Choices if suite.kind == "multiple_choice" else Text
    lines: dict[str, int] = {}
    tags: set[str] | None = None
    for number, line in numbered_lines(suite.items_path):
        item: Choices | Text = parse_line(shape, line, suite.items_path, number)
        if item.id in lines:
            where = f"{suite.items_path}:{number}"
            raise SuiteError(
                f"{where}: id {item.id!r} was already used on line {lines[item.id]}"
            )
        if tags is not None and set(item.tags) != tags:
            # An item without a label would be missing from every slice by that tag.
            raise SuiteError(
                f"{suite.items_path}:{number}: the tags are {_listed(item.tags)}; the items "
                f"before have {_listed(tags)}, and all items need the same"
            )
        tags = set(item.tags)
        lines[item.id] = number
        yield item


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a JSON Lines file that are not empty, counted from 1."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SuiteError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise SuiteError(f"{path}: not UTF-8 text (byte {error.start})") from None
    # Only "\n" ends a line of JSON Lines; splitlines() would also cut inside strings.
    return ((i, line) for i, line in enumerate(text.split("\n"), 1) if line.strip())


def parse_line(shape: type[N], line: str, path: Path, number: int) -> N:
    """One line as a noun, or SuiteError with file, line and field, never with its content."""
    try:
        return shape.model_validate_json(line)
    except ValidationError as invalid:
        first = invalid.errors(include_input=False, include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "row"
        raise SuiteError(f"{path}:{number}: {field}: {first['msg']}") from None
    except (json.JSONDecodeError, RecursionError):
        raise SuiteError(f"{path}:{number}: not JSON") from None
