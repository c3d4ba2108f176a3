"""What is compared: update methods, one at several rates, retraining, and reading the facts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tidegate.flows.rules import DEFAULT_RECIPE
from tidegate.flows.usage import UsageError
from tidegate.gates.yaml_file import did_you_mean
from tidegate.training.recipe import Recipe, load_recipe

Kind = Literal["sequential", "joint", "context"]
RECIPES = DEFAULT_RECIPE.parent
JOINT, CONTEXT = "joint", "in-context"
PREFERENCES = ("dpo", "kto")  # need corrections or thumbs, which facts have none of
# Need a base that can answer already, and facts have no rewards: run where they are named.
SELF_TAUGHT = ("cartridge", "grpo", "sdft", "star")
RATES = (1e-4, 2e-4, 5e-4, 1e-3)  # of plain LoRA; the fairest opponent is a tuned one


@dataclass(frozen=True)
class Arm:
    """sequential: each update continues from the one before; joint: plain LoRA from the base
    on all rows at once; context: the base, with the facts before each question."""

    name: str
    kind: Kind
    recipe: Recipe | None


def arm_names(recipes: Path = RECIPES) -> list[str]:
    """Every arm that can be run without anything else being given."""
    methods = [path.stem for path in sorted(recipes.glob("*.yaml"))]
    rates = [f"lora@{rate:g}" for rate in RATES]
    apart = {*PREFERENCES, *SELF_TAUGHT}
    return [*(m for m in methods if m not in apart), *rates, JOINT, CONTEXT]


def find_arms(
    names: Sequence[str], recipes: Path = RECIPES, **settings: Any
) -> tuple[Arm, ...]:
    """Arms by name: a recipe of the folder, RECIPE@RATE, `joint` or `in-context`.

    settings: fields that every recipe takes instead of its own, such as epochs. Raises
    UsageError for a name that is none of these, and YamlError for a recipe that is broken.
    """
    found = [_arm(name, recipes, settings) for name in names]
    if not found:
        raise UsageError("there is no arm to run")
    if len({arm.name for arm in found}) < len(found):
        raise UsageError("an arm is named twice")
    return tuple(found)


def _arm(name: str, recipes: Path, settings: dict[str, Any]) -> Arm:
    if name == CONTEXT:
        return Arm(name, "context", None)
    method, _, rate = name.partition("@")
    path = recipes / f"{'lora' if method == JOINT else method}.yaml"
    known = [*arm_names(recipes), *(m for m in SELF_TAUGHT if (recipes / f"{m}.yaml").exists())]
    if method not in known:  # nothing but a name: no path leads out of the folder
        raise UsageError(
            f"there is no arm {name!r}{did_you_mean(method, known)}; there are "
            f"{', '.join(known)}, and RECIPE@RATE"
        )
    recipe = load_recipe(path).model_copy(update=settings)
    if rate:
        try:
            recipe = recipe.model_copy(update={"learning_rate": float(rate)})
        except ValueError:
            raise UsageError(f"arm {name!r}: {rate!r} is no learning rate") from None
    return Arm(name, "joint" if method == JOINT else "sequential", recipe)
