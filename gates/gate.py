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
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, get_type_hints

from pydantic import Field

from tidegate.gates.types import (
    BatchEvidence,
    CandidateEvidence,
    Evidence,
    Noun,
    Outcome,
    Verdict,
)


class Params(Noun):
    """What a policy may set on a gate. Each gate has its own subclass."""

    def about(self) -> str:
        """What tells two uses of the same gate apart, such as the suite's name."""
        return ""


class RowParams(Params):
    """Settings of every data gate that names single records."""

    quarantine: bool = Field(default=False, description="drop the record, keep the batch")
    mask: bool = Field(default=False, description="replace the finding, keep the record")
    max_records: int = Field(
        default=0, ge=0, description="records that may still match among those that are kept"
    )
    max_quarantined_share: float = Field(
        default=0.2, ge=0, le=1, description="past this share the batch itself is suspect"
    )


class Comparing(Params):
    """Settings of every model gate that compares the candidate with a baseline.

    The two rates are how often a comparison may err; `decide` fills them in from the
    policy's `statistics`, so that a policy states them once.
    """

    false_pass_rate: float = Field(default=0.05, gt=0, lt=0.5, exclude=True)
    false_block_rate: float = Field(default=0.05, gt=0, lt=0.5, exclude=True)

    def comparisons(self) -> int:
        """How many comparisons one use of the gate makes."""
        return 1


@dataclass(frozen=True)
class RowRule:
    """A record is a hit when the number in its column is above the limit, or is missing."""

    column: str
    above: float
    detail: str  # what the report says of a hit; never the finding itself


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
