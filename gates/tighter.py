"""Which way a setting of a policy may move when one policy stands on another.

A setting says its direction where it is declared:

    max_records: Annotated[int, LOWER]
    than: Margins                          # a noun: its own settings say theirs

A setting that says nothing must stay the same. None is no limit at all, so a child may set
what its parent left open, and may not open what its parent set.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel

Where = tuple[str, ...]


@dataclass(frozen=True)
class Direction:
    """When a child's value is at least as strict as its parent's, and how to say so."""

    allows: Callable[[Any, Any], bool]  # parent's value, child's value; neither is None
    rule: str
    open: bool = True  # whether None means "no limit"


def ranked(*loose_to_strict: object) -> Direction:
    """Values in an order; a value outside the order can only stay what it is."""

    def allows(parent: object, child: object) -> bool:
        if parent not in loose_to_strict or child not in loose_to_strict:
            return parent == child
        return loose_to_strict.index(child) >= loose_to_strict.index(parent)

    names = " to ".join(str(value).lower() for value in loose_to_strict)
    return Direction(allows, f"may only go from {names}")


LOWER = Direction(lambda parent, child: child <= parent, "may only become lower")
HIGHER = Direction(lambda parent, child: child >= parent, "may only become higher")
FEWER = Direction(lambda parent, child: set(child) <= set(parent), "may only lose entries")
MORE = Direction(lambda parent, child: set(child) >= set(parent), "may only gain entries")
SAME = Direction(lambda parent, child: child == parent, "must stay the same", open=False)
ADDED = Direction(lambda parent, child: child == parent, "may be added, and then must stay")
FREE = Direction(lambda parent, child: True, "may change")
WITHIN = Direction(lambda parent, child: child.within(parent), "may only become narrower")


@dataclass(frozen=True)
class Loosened:
    """A setting by which a child would decide better than its parent."""

    where: Where
    parent: object
    child: object
    rule: str

    def __str__(self) -> str:
        name = ".".join(part for part in self.where if part != "params")
        return f"{name}: {_said(self.child)} where {_said(self.parent)} stands; it {self.rule}"


def loosened(
    parent: BaseModel, child: BaseModel, at: Where = (), *, stated: bool = False
) -> Loosened | None:
    """The first setting of `child` that is looser than `parent`'s; None if there is none.

    stated: only what `parent` says itself counts, not what it leaves to the defaults.
    """
    for name, field in type(parent).model_fields.items():
        if field.exclude or (stated and name not in parent.model_fields_set):
            continue  # excluded ones are filled in from elsewhere, never by a file
        where = (*at, field.alias or name)
        before, after = getattr(parent, name), getattr(child, name)
        direction = _direction(field.metadata)
        if direction is None and (_is_noun(field.annotation) or isinstance(before, BaseModel)):
            if before is None:
                continue
            if after is None:
                return Loosened(where, before, after, "may not be taken away")
            found = loosened(before, after, where, stated=stated)
            if found:
                return found
            continue
        rule = direction or SAME
        if rule.open and before is None:
            continue
        if (rule.open and after is None) or not rule.allows(before, after):
            return Loosened(where, before, after, rule.rule)
    return None


def _direction(metadata: Sequence[object]) -> Direction | None:
    return next((m for m in metadata if isinstance(m, Direction)), None)


def _is_noun(annotation: Any) -> bool:
    kinds = get_args(annotation) or (annotation,)
    return any(isinstance(kind, type) and issubclass(kind, BaseModel) for kind in kinds)


def _said(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return ", ".join(map(str, value)) or "nobody"
    plain = isinstance(value, BaseModel) and type(value).__str__ is BaseModel.__str__
    return "a section" if plain else str(value)
