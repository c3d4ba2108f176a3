"""What every planted case is run on: one policy, one base, and what the base answers.

The bare base stands for champion and anchor, so a case needs no model line and no registry.
Everything is kept below home.cache under the digests of its inputs: a second proof reads it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from tidegate.evals.harness import Subject
from tidegate.evals.suite import Suite
from tidegate.flows.home import Home
from tidegate.gates.checks.learned import Gain
from tidegate.gates.decide import decide, judge
from tidegate.gates.made import CONSEQUENCES, IN_CONTEXT, TIME
from tidegate.gates.policy.nouns import GateUse, Policy
from tidegate.gates.types import Action, CandidateEvidence, Decision, Digest, Report
from tidegate.training.base import Base, load_model

FACTS = {TIME, CONSEQUENCES, IN_CONTEXT}


class Found(NamedTuple):
    """Whether what was planted got through, and what was seen, in words."""

    passed: bool
    seen: str


@dataclass(frozen=True, eq=False)
class Bench:
    """A policy under proof. `suites` are those that it names, but for the update's own."""

    policy: Policy
    base: Base
    home: Home
    suites: tuple[Suite, ...]
    progress: Report

    @cached_property
    def champion(self) -> Subject:
        """The bare base, ready to be asked."""
        return self.subject(load_model(self.base), self.base.digest)

    def subject(self, loaded: tuple[Any, Any], digest: Digest) -> Subject:
        """A model and its tokenizer, ready to be asked in the policy's chunks."""
        chunk = self.policy.statistics.sequential.chunk
        return Subject(*loaded, digest, self.home.cache, chunk)

    @cached_property
    def without_facts(self) -> Policy:
        """The policy without the gates that ask about facts of the operator's own probes.

        A planted adapter was not taught those facts; the gates have cases of their own.
        """
        return only(self.policy, lambda use: FACTS.isdisjoint(use.params.suites()))

    @cached_property
    def without_gains(self) -> Policy:
        """The policy without the gates that ask for a gain, or about facts.

        A candidate that is the champion gains nothing by definition. With those gates every
        bent measurement would be blocked by them, whatever the others make of it.
        """
        return only(self.without_facts, lambda use: not isinstance(use.params, Gain))


def only(policy: Policy, kept: Callable[[GateUse], bool]) -> Policy:
    """The policy with these model gates alone, and its parents likewise."""
    parent = None if policy.parent is None else only(policy.parent, kept)
    return policy.model_copy(
        update={"model": tuple(filter(kept, policy.model)), "parent": parent}
    )


def ruled(policy: Policy, evidence: CandidateEvidence) -> Decision:
    return decide(judge(policy, evidence))


def blockers(decision: Decision) -> tuple[str, ...]:
    """The titles of the rulings that stand in the way of promotion."""
    return tuple(r.title for r in decision.rulings if r.action is not Action.PROMOTE)


def words(titles: Sequence[str], most: int = 2) -> str:
    """Some gates by name, and how many more."""
    named = list(dict.fromkeys(titles))
    more = f" and {len(named) - most} more" if len(named) > most else ""
    return ", ".join(named[:most]) + more


def all_blocked(shapes: Sequence[tuple[str, Found]]) -> Found:
    """One case that is planted in several shapes: it is blocked if every shape is."""
    through = [f"{name}: {found.seen}" for name, found in shapes if found.passed]
    if through:
        return Found(True, "; ".join(through))
    return Found(False, "; ".join(f"{name}: {found.seen}" for name, found in shapes))


Plant = Callable[[Bench], Found]
