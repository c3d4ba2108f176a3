"""What `policy lint` finds, and what it must know of a suite to find it."""

from typing import Literal

from pydantic import Field

from tidegate.gates.policy.nouns import GateUse
from tidegate.gates.types import Noun

# A stage, a gate's title and its setting; or a section and its key.
Place = tuple[str, ...]


class SuiteFacts(Noun):
    """A suite as a policy sees it, without its items."""

    n: int | None = Field(
        default=None, gt=0, description="items; None: not known before a batch"
    )
    metrics: tuple[str, ...] = Field(min_length=1)
    slices: dict[str, dict[str, int]] = Field(
        default_factory=dict, description="items of each slice, by what they are sliced by"
    )


class Finding(Noun):
    """One thing in a policy that does not do what it seems to do."""

    severity: Literal["refuse", "warn"]
    title: str = Field(description="the gate's title, or the section")
    found: str
    would_do: str
    where: Place


def refuse(title: str, where: Place, found: str, would_do: str) -> Finding:
    return Finding(severity="refuse", title=title, found=found, would_do=would_do, where=where)


def warn(title: str, where: Place, found: str, would_do: str) -> Finding:
    return Finding(severity="warn", title=title, found=found, would_do=would_do, where=where)


def at(stage: str, use: GateUse, *setting: str) -> Place:
    """Where a setting of a gate stands."""
    return (stage, use.title, *setting)
