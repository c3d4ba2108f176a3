"""The two kinds of adapter. A recipe's method decides which; afterwards the adapter's file says it.

    lora       low-rank changes of the base's weights            training/adapter.py
    cartridge  keys and values that stand before every prompt    training/cartridge.py

Who continues from a version continues its kind, so a lineage has one. What is not needed to
ask which kind it is (torch, peft) is not loaded here.
"""

import json
from pathlib import Path

from tidegate.training.adapter_digest import CONFIG
from tidegate.training.base import BaseError, refuse_pickled_adapter
from tidegate.training.methods import Kind, load_methods
from tidegate.training.recipe import Recipe

PEFT_TYPES: dict[str, Kind] = {"LORA": "lora", "CARTRIDGE": "cartridge"}
NAMES: dict[Kind, str] = {"lora": "LoRA", "cartridge": "cartridge"}


def made_by(recipe: Recipe) -> Kind:
    """The kind of adapter that the recipe's method makes."""
    return load_methods()[recipe.method].makes


def kind_of(adapter: Path) -> Kind:
    """The kind of an adapter's folder. Raises BaseError for one that is neither."""
    refuse_pickled_adapter(adapter)
    found = json.loads((adapter / CONFIG).read_bytes()).get("peft_type")
    if found not in PEFT_TYPES:
        raise BaseError(
            f"{adapter / CONFIG}: the peft_type is {found!r}; an adapter is one of "
            f"{', '.join(PEFT_TYPES)}"
        )
    return PEFT_TYPES[found]


def refuse_other_kind(recipe: Recipe, champion: Path | None) -> None:
    """Raise BaseError if the champion has an adapter, and the method makes another kind."""
    if champion is None:
        return
    found, wanted = kind_of(champion), made_by(recipe)
    if found != wanted:
        raise BaseError(
            f"the champion's adapter is a {NAMES[found]}, and the method {recipe.method!r} makes "
            f"a {NAMES[wanted]}: one is not continued as the other. Begin a line of its own: "
            "--model NAME"
        )
