"""How a candidate is made from a batch: the recipe, a YAML file that a person edits.

Like a policy, a recipe with one mistake is refused whole, before any work, with the line of
the mistake; and it says why it is as it is.
"""

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

from tidegate.gates.digest import digest_json
from tidegate.gates.types import Digest, Noun
from tidegate.gates.yaml_file import YamlError, YamlFile, did_you_mean
from tidegate.training.methods import load_methods

__all__ = ["Anchors", "Recipe", "Replay", "Schedule", "YamlError", "load_recipe"]


def _number(value: object) -> object:
    """YAML 1.1 reads 2e-4 as text; say so instead of 'not a number'."""
    if isinstance(value, str):
        try:
            float(value)
        except ValueError:
            return value
        raise ValueError(f"YAML reads {value} as text; write it with a point, such as 2.0e-4")
    return value


Number = Annotated[float, BeforeValidator(_number)]


class Schedule(Noun):
    """The learning rate's way: up in a line, then down in a line."""

    warmup: Number = Field(
        default=0.1, ge=0, lt=1, description="share of the steps on the way up"
    )
    floor: Number = Field(default=0.1, ge=0, le=1, description="share of the rate at the end")


class Replay(Noun):
    """Rows of accepted batches, learned again beside the new ones."""

    share: Number = Field(gt=0, le=4, description="replayed rows for each new row")
    weight: Number = Field(default=1.0, gt=0, le=100)


class Anchors(Noun):
    """Answers of the parent on which the candidate must keep to the origin's distribution."""

    rows: int = Field(ge=1, le=100_000, description="distinct anchor rows")
    share: Number = Field(gt=0, le=4, description="anchor rows for each new row")
    weight: Number = Field(default=1.0, gt=0, le=100)
    top_k: int = Field(
        default=50, ge=1, le=4096, description="tokens kept of the origin's answer"
    )
    max_new_tokens: int = Field(default=40, ge=4, le=4096)
    temperature: Number = Field(default=1.0, gt=0, le=2)
    top_p: Number = Field(default=0.9, gt=0, le=1)


class Recipe(Noun):
    """Everything besides the data that decides which weights come out."""

    recipe: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    why: str = Field(min_length=1)
    base: str = Field(min_length=1, description="embedded model or folder")
    method: str = Field(description="a file of training/methods")
    rank: int = Field(ge=1, le=1024)
    alpha: Number = Field(gt=0, le=4096)
    # Named one by one: peft's "all-linear" cannot be combined with a choice of layers.
    targets: Annotated[tuple[str, ...], Field(strict=False, min_length=1)]
    learning_rate: Number = Field(gt=0, le=0.1)
    epochs: int = Field(ge=1, le=1000)
    rows_per_step: int = Field(ge=1, le=65_536, description="new rows for each optimiser step")
    max_tokens: int = Field(
        ge=16, le=1 << 20, description="of one row, and of a packed sequence"
    )
    weight_decay: Number = Field(default=0.0, ge=0, le=1)
    clip: Number = Field(default=1.0, gt=0, description="largest norm of a step's gradient")
    seed: int = Field(ge=0, lt=1 << 32)
    schedule: Schedule = Schedule()
    replay: Replay | None = None
    anchors: Anchors | None = None

    @property
    def digest(self) -> Digest:
        return digest_json(self.model_dump(mode="json"))


SECTIONS: dict[str, type[Noun]] = {"schedule": Schedule, "replay": Replay, "anchors": Anchors}
OPTIONAL = ("replay", "anchors")


def load_recipe(path: Path) -> Recipe:
    """Read a recipe; raises YamlError as `file:line: what was found, what would do`."""
    file = YamlFile(path)
    for section, model in SECTIONS.items():  # first, so that hints name the section's own keys
        if isinstance(file.data, dict) and isinstance(file.data.get(section), dict):
            file.parse(model, file.data[section], (section,))
    recipe = file.parse(Recipe, file.data)
    methods = load_methods()
    if recipe.method not in methods:
        hint = did_you_mean(recipe.method, list(methods))
        raise file.error(("method",), f"there is no method {recipe.method!r}{hint}")
    method = methods[recipe.method]
    for section in OPTIONAL:
        given = getattr(recipe, section) is not None
        if given and section not in method.reads:
            takers = " or ".join(m.name for m in methods.values() if section in m.reads)
            raise file.error(
                (section,),
                f"the method {method.name!r} reads no section {section!r}: remove it, or "
                f"choose method: {takers}",
            )
        if not given and section in method.needs:
            raise file.error(
                ("method",), f"the method {method.name!r} needs a section {section!r}"
            )
    if len(set(recipe.targets)) != len(recipe.targets):
        raise file.error(("targets",), "targets: a module is named twice")
    if recipe.anchors and recipe.anchors.max_new_tokens >= recipe.max_tokens:
        raise file.error(
            ("anchors", "max_new_tokens"),
            f"anchors.max_new_tokens: {recipe.anchors.max_new_tokens} leaves no room for a "
            f"prompt within max_tokens {recipe.max_tokens}",
        )
    return recipe
