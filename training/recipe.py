"""How a candidate is made from a batch: the recipe, a YAML file that a person edits.

Like a policy, a recipe with one mistake is refused whole, before any work, with the line of
the mistake; and it says why it is as it is.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from tidegate.gates.digest import digest_json
from tidegate.gates.types import Digest, Noun
from tidegate.gates.yaml_file import YamlError, YamlFile, did_you_mean
from tidegate.training.methods import load_methods
from tidegate.training.recipe_checks import check_expand, check_kind, check_scale, check_written
from tidegate.training.routes import Route, parse_routes

__all__ = [
    "Anchors",
    "Answers",
    "Cartridge",
    "Demonstrated",
    "Expand",
    "Fisher",
    "Interpolate",
    "Preference",
    "Recipe",
    "Replay",
    "Reptile",
    "Rewarded",
    "Rollouts",
    "Sampling",
    "Schedule",
    "SlotChoice",
    "Subspace",
    "Timescales",
    "Verified",
    "YamlError",
    "load_recipe",
]


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


class Sampling(Noun):
    """How the parent is made to write: by chance that the recipe's seed fixes."""

    max_new_tokens: int = Field(default=40, ge=4, le=4096)
    temperature: Number = Field(default=1.0, gt=0, le=2)
    top_p: Number = Field(default=0.9, gt=0, le=1)


class Answers(Sampling):
    """Answers that the parent writes to everyday prompts: what the batch is not about."""

    rows: int = Field(ge=1, le=100_000, description="distinct answers")

    @property
    def kept(self) -> int:
        """Tokens kept of what the origin would say at each place."""
        return 1  # only anchors ask for it


class Anchors(Answers):
    """Answers on which the candidate must keep to the distribution of an earlier model."""

    share: Number = Field(gt=0, le=4, description="anchor rows for each new row")
    weight: Number = Field(default=1.0, gt=0, le=100)
    top_k: int = Field(
        default=50, ge=1, le=4096, description="tokens kept of the earlier model's answer"
    )

    @property
    def kept(self) -> int:
        return self.top_k


class Fisher(Answers):
    """Answers that say which weights matter to them, and how much moving those costs."""

    weight: Number = Field(default=1.0, gt=0, le=1e6, description="1: as much as a KL in nats")
    form: Literal["full", "factored"] = Field(
        default="full", description="factored keeps sums of rows and columns: for large models"
    )


class SlotChoice(Answers):
    """Answers whose FFN neurons are left alone, and how many others may change."""

    count: int = Field(ge=1, le=1024, description="neurons of each layer for one update")


class Subspace(Noun):
    """How many directions of each layer's weight an update keeps out of."""

    share: Number = Field(gt=0, lt=1, description="of its singular directions, largest first")


class Interpolate(Noun):
    """How far the candidate goes from its parent towards what was trained."""

    share: Number = Field(gt=0, le=1)
    max_error: Number = Field(
        default=0.1,
        gt=0,
        le=1,
        description="most that the adapter's rank may lose of the update",
    )


class Reptile(Noun):
    """How far training begins from the parent, towards the mean of what was accepted."""

    rate: Number = Field(gt=0, le=1, description="share of the way to the mean")
    last: int = Field(ge=2, le=64, description="accepted updates in the mean, newest first")
    max_error: Number = Field(
        default=0.5,
        gt=0,
        le=1,
        description="most that the adapter's rank may lose of the way to the mean",
    )


class Timescales(Noun):
    """How much of the adapter's rank is slow, how seldom it moves, and how little."""

    slow: int = Field(ge=1, le=1023, description="ranks that are slow; the rest is fast")
    every: int = Field(ge=2, le=100_000, description="optimiser steps between slow moves")
    rate: Number = Field(gt=0, le=1, description="of the moves that have added up since")


class Preference(Noun):
    """What people preferred: corrections as pairs, thumbs as ratings."""

    share: Number = Field(gt=0, le=4, description="pairs or ratings for each new row")
    beta: Number = Field(default=0.1, gt=0, le=10)
    weight: Number = Field(default=1.0, gt=0, le=100)


class Rollouts(Sampling):
    """Answers that the parent writes to the batch's own questions."""

    max_new_tokens: int = Field(default=128, ge=4, le=4096)
    # Not cut by default: a sample of the model's own distribution has its tail too.
    top_p: Number = Field(default=1.0, gt=0, le=1)
    per_row: int = Field(default=1, ge=1, le=64, description="answers to each question")


class Demonstrated(Rollouts):
    """Answers judged, token by token, by the parent that is shown the accepted answer."""

    top_k: int = Field(
        default=50, ge=1, le=4096, description="tokens kept of what it then says"
    )


class Verified(Rollouts):
    """Answers of which only those that a verifier finds right are learned."""

    per_row: int = Field(default=4, ge=1, le=64, description="answers to each question")
    verifier: str = Field(default="normalised", description="a function of training/verifiers")
    hint: bool = Field(
        default=True,
        description="one more answer, with the accepted one shown, if none is right",
    )


class Rewarded(Rollouts):
    """Answers that a verifier rewards with 1 or 0, and how far they may move the model."""

    per_row: int = Field(default=8, ge=2, le=64, description="answers to each question")
    verifier: str = Field(default="normalised", description="a function of training/verifiers")
    clip: Number = Field(
        default=0.2,
        gt=0,
        lt=1,
        description="a token's ratio to the parent counts up to 1 +- this",
    )
    kl_weight: Number = Field(default=0.04, ge=0, le=100, description="of the KL to the parent")
    # Fixed: ratio and KL are taken to the distribution that was drawn from, and a cut one gives
    # no probability to tokens that the model may come to.
    top_p: Number = Field(default=1.0, ge=1, le=1, description="1: nothing is cut")


class Cartridge(Rollouts):
    """Keys and values before every prompt, and the self-study that they are learned by."""

    top_k: int = Field(
        default=50, ge=1, le=4096, description="tokens kept of what the base says"
    )
    tokens: int = Field(ge=2, le=65_536, description="of the cartridge, the first is frozen")
    corpus_tokens: int = Field(
        ge=16,
        le=1 << 20,
        description="of the batch's text that the base reads at once, at most",
    )
    asked: int = Field(
        default=2,
        ge=0,
        le=1024,
        description="questions that it asks itself about each such part",
    )


class Lora(NamedTuple):
    """The shape of a LoRA: its rank, its alpha, and the linear layers that it is on."""

    rank: int
    alpha: float
    targets: tuple[str, ...]


class Expand(Noun):
    """Rows made from the new ones by templates, learned beside them (training/expand.py)."""

    rewordings: int = Field(ge=0, le=8, description="of each question, for the same answer")
    reversals: bool = Field(description="facts that are one to one, asked from the other side")
    implications: int | None = Field(
        default=None, ge=1, le=8, description="questions over a row and a second one"
    )
    most: int = Field(
        ge=1, le=8, description="rows made from one row: reversals, implications, rewordings"
    )

    @model_serializer(mode="wrap")
    def _without_what_is_unset(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Recipes from before there were implications keep their digest.
        return {key: value for key, value in dump(self).items() if value is not None}


class Recipe(Noun):
    """Everything besides the data that decides which weights come out."""

    recipe: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    why: str = Field(min_length=1)
    base: str = Field(min_length=1, description="embedded model or folder")
    method: str = Field(description="a file of training/methods")
    # These three where the method makes a LoRA, and nowhere else (training/kinds.py).
    rank: int | None = Field(default=None, ge=1, le=1024)
    alpha: Number | None = Field(default=None, gt=0, le=4096)
    # Named one by one: peft's "all-linear" cannot be combined with a choice of layers.
    targets: Annotated[tuple[str, ...] | None, Field(strict=False)] = Field(
        default=None, min_length=1
    )
    frozen_layers: int | None = Field(
        default=None, ge=1, le=4096, description="first layers of the base without an adapter"
    )
    gradient_checkpointing: bool | None = Field(
        default=None, description="layers run again in backward instead of being kept"
    )
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
    fisher: Fisher | None = None
    slots: SlotChoice | None = None
    subspace: Subspace | None = None
    interpolate: Interpolate | None = None
    reptile: Reptile | None = None
    timescales: Timescales | None = None
    preference: Preference | None = None
    demonstrated: Demonstrated | None = None
    verified: Verified | None = None
    rewarded: Rewarded | None = None
    cartridge: Cartridge | None = None
    expand: Expand | None = None
    scale: Annotated[tuple[Number, ...] | None, Field(strict=False)] = Field(
        default=None,
        min_length=1,
        max_length=8,
        description="shares of the update to try, largest first, until the gates pass",
    )
    routes: Annotated[tuple[Route, ...] | None, Field(strict=False)] = Field(
        default=None, min_length=1, max_length=64, description="rules, the first match wins"
    )

    @property
    def answers(self) -> Answers | None:
        """What the parent is to write, if the method needs any of it."""
        return self.anchors or self.fisher or self.slots

    @property
    def lora(self) -> Lora:
        """Raises ValueError where the method makes none."""
        if self.rank is None or self.alpha is None or self.targets is None:
            raise ValueError(f"the recipe {self.recipe!r} has no rank, alpha and targets")
        return Lora(self.rank, self.alpha, self.targets)

    @model_serializer(mode="wrap")
    def _without_what_is_unset(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # So that a section which is invented later gives no recipe of today another digest.
        return {key: value for key, value in dump(self).items() if value is not None}

    @property
    def digest(self) -> Digest:
        return digest_json(self.model_dump(mode="json"))


SECTIONS: dict[str, type[Noun]] = {
    "schedule": Schedule,
    "replay": Replay,
    "anchors": Anchors,
    "fisher": Fisher,
    "slots": SlotChoice,
    "subspace": Subspace,
    "interpolate": Interpolate,
    "reptile": Reptile,
    "timescales": Timescales,
    "preference": Preference,
    "demonstrated": Demonstrated,
    "verified": Verified,
    "rewarded": Rewarded,
    "cartridge": Cartridge,
    "expand": Expand,
}
# Those that a method has to read; a schedule and expansions go with any.
OPTIONAL = tuple(section for section in SECTIONS if section not in ("schedule", "expand"))


def load_recipe(path: Path) -> Recipe:
    """Read a recipe; raises YamlError as `file:line: what was found, what would do`."""
    file = YamlFile(path)
    for section, model in SECTIONS.items():  # first, so that hints name the section's own keys
        if isinstance(file.data, dict) and isinstance(file.data.get(section), dict):
            file.parse(model, file.data[section], (section,))
    parse_routes(file)
    recipe = file.parse(Recipe, file.data)
    methods = load_methods()
    if recipe.method not in methods:
        hint = did_you_mean(recipe.method, list(methods))
        raise file.error(("method",), f"there is no method {recipe.method!r}{hint}")
    method = methods[recipe.method]
    for section in OPTIONAL:
        given = getattr(recipe, section) is not None
        if given and section not in method.reads:
            takers = " or ".join(sorted(m.name for m in methods.values() if section in m.reads))
            raise file.error(
                (section,),
                f"the method {method.name!r} reads no section {section!r}: remove it, or "
                f"choose method: {takers}",
            )
        if not given and section in method.needs:
            raise file.error(
                ("method",), f"the method {method.name!r} needs a section {section!r}"
            )
    check_kind(file, recipe, method)
    check_written(file, recipe)
    check_scale(file, recipe)
    try:
        parts = method.parts(recipe)
    except ValueError as no:
        raise file.error(("method",), str(no)) from None
    check_expand(file, recipe, method, parts)
    return recipe
