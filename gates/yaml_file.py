"""Reading YAML that a person edits: strictly, and with the line of every mistake.

YAML readers keep the last of two equal keys and guess types in silence. A file that
decides what a model learns must not be read that way: keys set twice, unknown keys and
values of another type are all refused as `file:line: what was found, what would do`.
"""

import difflib
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

MAX_BYTES = 1 << 20  # nobody writes a policy of a megabyte; an alias bomb is one
Where = tuple[str | int, ...]
M = TypeVar("M", bound=BaseModel)


class YamlError(ValueError):
    """A file that cannot be used, and where in it the mistake is."""


class YamlFile:
    """A YAML file as plain data, which knows the line of each value."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise YamlError(f"{path}: cannot be read: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise YamlError(f"{path}: not UTF-8 text (byte {error.start})") from None
        if len(self.text) > MAX_BYTES:
            raise YamlError(f"{path}: larger than {MAX_BYTES} bytes")
        try:
            if any(
                isinstance(e, yaml.AliasEvent) for e in yaml.parse(self.text, yaml.SafeLoader)
            ):
                raise YamlError(f"{path}: aliases (*name) are not allowed; write the value out")
            root = yaml.compose(self.text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as broken:
            line = broken.problem_mark.line + 1 if broken.problem_mark else 1
            raise YamlError(f"{path}:{line}: not YAML: {broken.problem}") from None
        except yaml.YAMLError as broken:
            raise YamlError(f"{path}: not YAML: {broken}") from None
        if root is None:
            raise YamlError(f"{path}: the file is empty")
        self.root: yaml.Node = root
        self._refuse_duplicate_keys(root)
        self.data: Any = yaml.safe_load(self.text)

    def parse(self, model: type[M], data: object, at: Where = ()) -> M:
        """Validate data found at a place in the file, or raise YamlError with its line."""
        try:
            return model.model_validate(data)
        except ValidationError as invalid:
            first = invalid.errors()[0]
            name = ".".join(str(part) for part in first["loc"]) or self.path.name
            message = f"{name}: {first['msg']}"
            if first["type"] == "extra_forbidden":
                message = f"there is no key {name!r}" + did_you_mean(
                    str(first["loc"][-1]), list(model.model_fields)
                )
            raise self.error((*at, *first["loc"]), message) from None

    def error(self, at: Where, message: str) -> YamlError:
        return YamlError(f"{self.path}:{self.line(at)}: {message}")

    def line(self, at: Where) -> int:
        """The line of a value, or of the nearest thing around it that exists."""
        node = self.root
        for part in at:
            if isinstance(node, yaml.SequenceNode) and isinstance(part, int):
                node = node.value[part]
            elif isinstance(node, yaml.MappingNode):
                found = [value for key, value in node.value if key.value == part]
                if not found:
                    break
                node = found[0]
        return int(node.start_mark.line) + 1

    def _refuse_duplicate_keys(self, node: yaml.Node) -> None:
        if isinstance(node, yaml.MappingNode):
            seen: dict[str, int] = {}
            for key, value in node.value:
                line = key.start_mark.line + 1
                if key.value in seen:
                    raise YamlError(
                        f"{self.path}:{line}: {key.value!r} was already set on line {seen[key.value]}"
                    )
                seen[key.value] = line
                self._refuse_duplicate_keys(value)
        elif isinstance(node, yaml.SequenceNode):
            for item in node.value:
                self._refuse_duplicate_keys(item)


def did_you_mean(word: str, known: list[str]) -> str:
    """A hint for the end of an error: the nearest known word, or all of them."""
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(sorted(known))}"
