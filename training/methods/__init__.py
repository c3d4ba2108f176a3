"""One file a method: which rows a step is made of, and what each kind of row pulls towards.

A method is a function from a recipe to the terms of the loss, named like its file and called
by that name in a recipe. The one loop of training/train.py runs them all; a method declares
and does not compute, so that reading a recipe loads no torch.
"""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from tidegate.training.recipe import Recipe

Source = Literal["new", "replay", "anchors"]


@dataclass(frozen=True)
class Term:
    """One part of a step's loss: weight times the mean loss per learned token of its rows."""

    source: Source
    loss: Literal["cross_entropy", "kl_to_origin"]
    share: float  # rows for each new row
    weight: float


Terms = Callable[["Recipe"], tuple[Term, ...]]
NEW = Term("new", "cross_entropy", share=1.0, weight=1.0)


@dataclass(frozen=True)
class Method:
    name: str
    terms: Terms
    reads: frozenset[str]  # sections of a recipe
    needs: frozenset[str]
    summary: str


METHODS: dict[str, Method] = {}


def method(
    *, reads: tuple[str, ...] = (), needs: tuple[str, ...] = ()
) -> Callable[[Terms], Terms]:
    """Register a method under the name of its function; the function itself is unchanged."""

    def register(terms: Terms) -> Terms:
        name = terms.__name__
        if name in METHODS:
            raise ValueError(f"two methods are named {name!r}")
        if not terms.__doc__:
            raise ValueError(f"method {name!r} has no docstring: say what it is for")
        summary = terms.__doc__.strip().splitlines()[0]
        METHODS[name] = Method(
            name, terms, frozenset({*reads, *needs}), frozenset(needs), summary
        )
        return terms

    return register


def load_methods() -> dict[str, Method]:
    """Import every file of training/methods and return all methods by name."""
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        importlib.import_module(module.name)
    return METHODS
