"""How a gate is made: a function of its parameters and of the evidence.

A gate lives in one file of gates/checks, has the name of its function, and is called by
that name in a policy. What it judges is read off its second argument: a gate on
BatchEvidence runs before training, a gate on CandidateEvidence after evaluation.

A data gate that looks at single records also says which: `rows(params)` returns RowRules
over the columns of signals, and the policy says whether such a record is quarantined or
masked. Great Expectations judges the same rules on what is left.
"""

import importlib
import math
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar, get_type_hints

from pydantic import Field

from tidegate.gates.tighter import LOWER, ranked
from tidegate.gates.types import (
    BatchEvidence,
    CandidateEvidence,
    Evidence,
    Noun,
    Outcome,
    Verdict,
)


class Params(Noun):
    """What a policy may set on a gate. Each gate has its own subclass.

    `identity` names the settings that tell two uses of the same gate apart, such as the
    suite. Every other setting says with a Direction which way a child policy may move it.
    """

    identity: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def title(cls, gate: str, said: Mapping[str, Any]) -> str:
        """What a use is called, from its settings as a file says them."""
        parts = [said.get(name, cls.model_fields[name].default) for name in cls.identity]
        return f"{gate}({'.'.join(map(str, parts))})" if parts else gate

    def probes(self) -> tuple[str, ...]:
        """The probes (evals/probes) whose measurements the gate reads, as it is set."""
        return ()

    def served(self) -> bool:
        """Whether the gate reads `serves.*`, which takes a process of its own to measure."""
        return False

    def suites(self) -> tuple[str, ...]:
        """The suites whose measurements the gate reads, as it is set."""
        return ()

    def judged(self) -> tuple[str, ...]:
        """Of its suites those that it judges; the others are asked for later updates' sake."""
        return self.suites()

    def without_batch(self) -> Self:
        """The same settings, less what can only be asked about a batch."""
        return self


class RowParams(Params):
    """Settings of every data gate that names single records."""

    # Without them a match fails the batch, so turning them off is the strict direction.
    quarantine: Annotated[bool, ranked(True, False)] = Field(
        default=False, description="drop the record, keep the batch"
    )
    mask: Annotated[bool, ranked(True, False)] = Field(
        default=False, description="replace the finding, keep the record"
    )
    max_records: Annotated[int, LOWER] = Field(
        default=0, ge=0, description="records that may still match among those that are kept"
    )
    max_quarantined_share: Annotated[float, LOWER] = Field(
        default=0.2, ge=0, le=1, description="past this share the batch itself is suspect"
    )


class How(Noun):
    """How sure a comparison must be, as the policy's `statistics` say."""

    false_pass_rate: float = Field(default=0.05, gt=0, lt=0.5)
    false_block_rate: float = Field(default=0.10, gt=0, lt=0.5)
    interval: Literal["wider", "t", "bca"] = "wider"
    early_share: float = Field(
        default=0, ge=0, lt=1, description="of each rate; 0: measured whole or not at all"
    )
    bound_margins: float = Field(
        default=10.0, gt=1, description="the most that one item may count, in margins"
    )


class Tested(Params):
    """Settings of every model gate whose verdict is a statistical test of means over items.

    `how` is filled in by `decide` from the policy's `statistics`: a policy states it once.
    """

    how: How = Field(default=How(), exclude=True)

    def comparisons(self) -> int:
        """How many comparisons one use of the gate makes."""
        return 1


class Comparing(Tested):
    """Settings of every model gate that compares one suite's numbers item by item."""

    suite: str = Field(min_length=1, description="name of a suite, or `update`")
    metric: str = Field(default="margin", description="per-item metric of the suite")

    identity: ClassVar[tuple[str, ...]] = ("suite", "metric")

    def suites(self) -> tuple[str, ...]:
        return (self.suite,)


@dataclass(frozen=True)
class Weak:
    """When a hit is too little to refuse a record for: another column is above a limit.

    And the rule's own is not above `strong`. A column that was not measured excuses nothing.
    """

    column: str
    above: float
    strong: float
    detail: str


@dataclass(frozen=True)
class RowRule:
    """A record is a hit when the number in its column is above the limit, or is missing."""

    column: str
    above: float
    detail: str  # what the report says of a hit; never the finding itself
    weak: Weak | None = None  # none: every hit counts


P = TypeVar("P", bound=Params)
E = TypeVar("E", bound=Evidence)


@dataclass(frozen=True)
class Gate:
    name: str
    params: type[Params]
    judges: type[Evidence]
    check: Callable[[Any, Any], Verdict]
    rows: Callable[[Any], tuple[RowRule, ...]] | None
    summary: str


GATES: dict[str, Gate] = {}


def gate(
    *, rows: Callable[[P], tuple[RowRule, ...]] | None = None
) -> Callable[[Callable[[P, E], Verdict]], Callable[[P, E], Verdict]]:
    """Register a check under the name of its function; the function itself is unchanged."""

    def register(check: Callable[[P, E], Verdict]) -> Callable[[P, E], Verdict]:
        name = check.__name__
        params, judges = [t for key, t in get_type_hints(check).items() if key != "return"]
        if name in GATES:
            raise ValueError(f"two gates are named {name!r}")
        if not check.__doc__:
            raise ValueError(f"gate {name!r} has no docstring: say what must hold")
        if judges not in (BatchEvidence, CandidateEvidence):
            raise ValueError(f"gate {name!r} must judge BatchEvidence or CandidateEvidence")
        if rows is not None and not issubclass(params, RowParams):
            raise ValueError(f"gate {name!r} names records, so its parameters are RowParams")
        summary = check.__doc__.strip().splitlines()[0]
        GATES[name] = Gate(name, params, judges, check, rows, summary)
        return check

    return register


def load_gates() -> dict[str, Gate]:
    """Import every file of gates/checks and return all gates by name."""
    from tidegate.gates import checks

    for module in pkgutil.iter_modules(checks.__path__, f"{checks.__name__}."):
        importlib.import_module(module.name)
    return GATES


def at_most(observed: float, limit: float, what: str) -> Verdict:
    """PASS if observed <= limit. NaN is never within a limit."""
    outcome = Outcome.PASS if observed <= limit else Outcome.FAIL
    relation = "is within" if outcome is Outcome.PASS else "exceeds"
    return _verdict(outcome, observed, limit, f"{what} {observed:.4g} {relation} the limit of")


def at_least(observed: float, limit: float, what: str) -> Verdict:
    """PASS if observed >= limit. NaN never reaches a limit."""
    outcome = Outcome.PASS if observed >= limit else Outcome.FAIL
    relation = "reaches" if outcome is Outcome.PASS else "is below"
    return _verdict(outcome, observed, limit, f"{what} {observed:.4g} {relation} the limit of")


def _verdict(outcome: Outcome, observed: float, limit: float, sentence: str) -> Verdict:
    if not math.isfinite(observed):
        return Verdict(outcome=Outcome.ERROR, reason=f"{sentence} {limit:.4g}: not a number")
    reason = f"{sentence} {limit:.4g}"
    return Verdict(outcome=outcome, reason=reason, observed=observed, limit=limit)
