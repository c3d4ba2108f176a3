"""Certified scaling: of several shares of one update, the largest that passes every model gate.

Each share is another model, and each gets a chance to pass by luck. A fixed sequence of tests
would need no correction if it ended at the first failure; this one goes on after failures, so
it does. `false_pass_rate` is split evenly over the shares that the recipe lists (Bonferroni):
whichever of them are harmful, the chance that any harmful one passes its gate is at most the
rate that the policy states. The list is fixed by the recipe before anything is measured.
"""

from collections.abc import Sequence

from pydantic import Field

from tidegate.gates.decide import worst
from tidegate.gates.policy.nouns import Policy
from tidegate.gates.types import Action, Digest, Noun, Outcome, Ruling, Verdict


class Tried(Noun):
    """One share of an update, and what the model gates said of it at the split rate."""

    scale: float = Field(gt=0, le=1)
    adapter: Digest
    error: float = Field(ge=0, description="lost at the adapter's rank, of the update's size")
    action: Action
    not_passed: tuple[str, ...] = Field(description="gates and outcomes, in the policy's order")


def split(policy: Policy, shares: int) -> Policy:
    """The policy with its false-pass rate split over so many shares, its parent's too."""
    rate = policy.statistics.false_pass_rate / shares
    statistics = policy.statistics.model_copy(update={"false_pass_rate": rate})
    parent = split(policy.parent, shares) if policy.parent else None
    return policy.model_copy(update={"statistics": statistics, "parent": parent})


def tried(scale: float, adapter: Digest, error: float, rulings: Sequence[Ruling]) -> Tried:
    """What came of one share; no ruling at all is a hold."""
    return Tried(
        scale=scale,
        adapter=adapter,
        error=error,
        action=worst(r.action for r in rulings) if rulings else Action.HOLD,
        not_passed=tuple(
            f"{r.title}: {r.verdict.outcome}" for r in rulings if r.action is not Action.PROMOTE
        ),
    )


def scale_ruling(policy: Policy, chosen: Tried, every: Sequence[Tried], of: int) -> Ruling:
    """Whether the share that stands passed at the split rate; says what each share came to."""
    rate = policy.statistics.false_pass_rate / of
    said = "; ".join(
        f"{one.scale:g}: {', '.join(one.not_passed) or one.action.value}" for one in every
    )
    outcomes = {
        Action.PROMOTE: Outcome.PASS,
        Action.HOLD: Outcome.INCONCLUSIVE,
        Action.REJECT: Outcome.FAIL,
    }
    return Ruling(
        gate="scale",
        title="scale",
        verdict=Verdict(
            outcome=outcomes[chosen.action],
            reason=f"{chosen.scale:g} of the update stands; at a false-pass rate of {rate:.4g}, "
            f"split over {of} shares: {said}",
        ),
        action=chosen.action,
        why="several tries at passing are several chances to pass by luck",
    )
