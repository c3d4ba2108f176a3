"""One file a method: what a step pulls towards, what holds it back, what is done at the end.

A method is a function from a recipe to its parts, named like its file and called by that name
in a recipe. The one loop of training/train.py runs them all; a method declares and does not
compute, so that reading a recipe loads no torch.

    Term     rows of one source, and the loss on them          training/losses.py, preference.py,
                                                               policy_gradient.py
    Rollouts  that the parent writes answers to learn from       training/rollouts.py
    Penalty  a cost of moving the weights, on no rows          training/fisher.py
    Slots    which weights may move at all                     training/slots.py
    Protected  directions that the update stays out of           training/subspace.py
    WarmStart  where training begins instead of at the parent    training/warm_start.py
    Levels   which part of the adapter moves seldom, and little  training/timescales.py
    Blend    what becomes of the adapter after the last step   training/blend.py

And a method says what kind of adapter it makes (training/kinds.py): a LoRA unless it says otherwise.
"""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from tidegate.training.recipe import Recipe

# pairs and ratings are read from the new rows: their corrections, their thumbs.
# rollouts are written by the parent once training has begun, to the questions of the new rows.
Source = Literal["new", "replay", "anchors", "pairs", "ratings", "rollouts"]
Kept = Literal["demonstrated", "verified", "rewarded", "cartridge"]
Kind = Literal["lora", "cartridge"]
Loss = Literal[
    "cross_entropy",
    "kl_to_origin",
    "kl_to_parent",
    "kl_to_demonstrated",
    "kl_to_corpus",
    "dpo",
    "kto",
    "grpo",
]


@dataclass(frozen=True)
class Term:
    """One part of a step's loss: weight times the mean loss of its rows.

    The mean is over learned tokens; for dpo and kto it is over pairs and ratings, for
    grpo over answers. A method's first term leads: an epoch is once through its rows.
    """

    source: Source
    loss: Loss
    share: float  # rows for each row of the first term
    weight: float


@dataclass(frozen=True)
class Rollouts:
    """The parent answers the questions of `source`; what comes of it is the source `rollouts`.

    demonstrated: every answer, with what the parent says at each token of it once it is shown
    the accepted answer. verified: those answers alone that the verifier finds right. rewarded:
    right and wrong ones of the questions that have both, each with its advantage. cartridge: the
    bare base answers, with the batch in its context, also questions that it asks itself.
    """

    source: Source
    kind: Kept


@dataclass(frozen=True)
class Penalty:
    """Elastic weight consolidation: moving a weight costs what it matters to `source`."""

    source: Source
    weight: float
    form: Literal["full", "factored"]


@dataclass(frozen=True)
class Slots:
    """Only so many FFN neurons may change, those that the new rows use and `source` does not."""

    source: Source
    count: int  # in each layer


@dataclass(frozen=True)
class Blend:
    """The candidate is (1 - share) of the parent plus share of what was trained."""

    share: float
    max_error: float  # of the rank that the adapter has, as a part of the update's own size


@dataclass(frozen=True)
class Protected:
    """The update stays out of a share of each layer's singular directions, largest first."""

    share: float


@dataclass(frozen=True)
class WarmStart:
    """Training begins at the parent plus `rate` of the way to the mean of accepted adapters."""

    rate: float
    last: int  # accepted updates that the mean is of, newest first, the parent among them
    max_error: float  # of the rank that the adapter has, as a part of the way from the parent


@dataclass(frozen=True)
class Levels:
    """Two time scales in one adapter: its first `slow` ranks move every so many steps."""

    slow: int
    every: int  # optimizer steps
    rate: float  # of what the optimizer would have done with them


Part = Term | Rollouts | Penalty | Slots | Protected | WarmStart | Levels | Blend
Parts = Callable[["Recipe"], tuple[Part, ...]]
# What the parent wrote, in a training's work folder; erasures look for it without loading torch.
ROLLOUTS, NOTES = "rollouts", "notes.json"
NEW = Term("new", "cross_entropy", share=1.0, weight=1.0)


@dataclass(frozen=True)
class Method:
    name: str
    parts: Parts
    reads: frozenset[str]  # sections of a recipe
    needs: frozenset[str]
    summary: str
    makes: Kind


METHODS: dict[str, Method] = {}


def method(
    *, reads: tuple[str, ...] = (), needs: tuple[str, ...] = (), makes: Kind = "lora"
) -> Callable[[Parts], Parts]:
    """Register a method under the name of its function; the function itself is unchanged."""

    def register(parts: Parts) -> Parts:
        name = parts.__name__
        if name in METHODS:
            raise ValueError(f"two methods are named {name!r}")
        if not parts.__doc__:
            raise ValueError(f"method {name!r} has no docstring: say what it is for")
        summary = parts.__doc__.strip().splitlines()[0]
        METHODS[name] = Method(
            name, parts, frozenset({*reads, *needs}), frozenset(needs), summary, makes
        )
        return parts

    return register


def load_methods() -> dict[str, Method]:
    """Import every file of training/methods and return all methods by name."""
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        importlib.import_module(module.name)
    return METHODS
