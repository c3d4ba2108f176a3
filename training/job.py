"""One training as it is handed to another process: the arguments of `train`, as JSON."""

from pathlib import Path

from tidegate.gates.types import Noun
from tidegate.training.base import Base
from tidegate.training.recipe import Recipe


class Job(Noun):
    """What `train` takes; its docstring says what each is. Paths are absolute."""

    recipe: Recipe
    base: Base
    parent: Path | None
    new: Path
    replay: Path | None
    anchors: Path | None
    work: Path
    teacher: Path | None = None
    past: tuple[Path, ...] = ()
    held_out: tuple[str, ...] | None = None


# A line of a process's standard output that begins so is for its launcher.
MARK = "tidegate-training "
