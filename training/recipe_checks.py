"""What a recipe's parts must have to do with each other; each mistake with its line."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from tidegate.gates.yaml_file import YamlFile, did_you_mean
from tidegate.training.methods import NEW, Method, Part, Term
from tidegate.training.verifiers import VERIFIERS

if TYPE_CHECKING:
    from tidegate.training.recipe import Recipe, Sampling

# Sections for which a model writes.
WRITTEN = ("anchors", "fisher", "slots", "demonstrated", "verified", "rewarded", "cartridge")
LORA_ONLY = ("rank", "alpha", "targets", "frozen_layers", "scale")


def check_kind(file: YamlFile, recipe: "Recipe", method: Method) -> None:
    """Raise YamlError unless the recipe has what the kind of adapter has, and nothing else."""
    for name in ("rank", "alpha", "targets"):
        if method.makes == "lora" and getattr(recipe, name) is None:
            raise file.error((), f"{name}: Field required")
    # A layer that is run again takes no keys from before the prompt (transformers drops them).
    for name in (*LORA_ONLY, "gradient_checkpointing"):
        if method.makes == "cartridge" and getattr(recipe, name) is not None:
            raise file.error(
                (name,),
                f"{name}: goes with a LoRA, and the method {method.name!r} makes a cartridge: "
                "remove it",
            )
    if recipe.targets is not None and len(set(recipe.targets)) != len(recipe.targets):
        raise file.error(("targets",), "targets: a module is named twice")


def check_written(file: YamlFile, recipe: "Recipe") -> None:
    """Raise YamlError if what a model is to write has no room, or nobody can verify it."""
    for section in WRITTEN:
        written: Sampling | None = getattr(recipe, section)
        if written and written.max_new_tokens >= recipe.max_tokens:
            raise file.error(
                (section, "max_new_tokens"),
                f"{section}.max_new_tokens: {written.max_new_tokens} leaves no room for a "
                f"prompt within max_tokens {recipe.max_tokens}",
            )
    for section, judged in (("verified", recipe.verified), ("rewarded", recipe.rewarded)):
        if judged and judged.verifier not in VERIFIERS:
            hint = did_you_mean(judged.verifier, list(VERIFIERS))
            raise file.error(
                (section, "verifier"),
                f"there is no verifier {judged.verifier!r}{hint}; there are "
                f"{', '.join(sorted(VERIFIERS))}",
            )


def check_scale(file: YamlFile, recipe: "Recipe") -> None:
    """Raise YamlError unless the shares of an update go down."""
    if recipe.scale and not (
        recipe.scale[0] <= 1
        and recipe.scale[-1] > 0
        and all(larger > smaller for larger, smaller in pairwise(recipe.scale))
    ):
        raise file.error(
            ("scale",), "scale: shares of the update from at most 1 downwards, none twice"
        )


def check_expand(
    file: YamlFile, recipe: "Recipe", method: Method, parts: Sequence[Part]
) -> None:
    """Raise YamlError if there is more to make of rows that are not learned, or nothing to make."""
    how = recipe.expand
    if how is None:
        return
    lead = next(part.source for part in parts if isinstance(part, Term))
    if lead != NEW.source:
        raise file.error(
            ("expand",),
            f"the method {method.name!r} does not learn the rows' own answers, which is "
            "what expand has more of: remove the section",
        )
    if not (how.rewordings or how.reversals or how.implications):
        raise file.error(
            ("expand",),
            "expand: makes nothing; ask for rewordings, reversals or implications, or remove "
            "the section",
        )
