"""Doing what approvals that were already given allow; nobody signs anything here.

Approvals can be enough without a promotion: the command that brought the last one was killed,
its account may only read the registry, or the signed files were brought into the home's
`approvals/` from elsewhere. Everything is checked again, as for an answer (settle.py).
"""

from collections.abc import Iterator
from datetime import datetime

from tidegate.flows.approving.cases import open_case
from tidegate.flows.approving.settle import Answered, check_again, refuse_unanswerable, settle
from tidegate.flows.approving.waiting import waiting
from tidegate.flows.home import Home
from tidegate.flows.ledger import Ledger
from tidegate.flows.locks import one_at_a_time
from tidegate.flows.registry import Registry, RegistryError
from tidegate.flows.standing import moves
from tidegate.flows.usage import UsageError
from tidegate.gates.policy.nouns import Policy
from tidegate.gates.policy.proof import ProofRecord
from tidegate.gates.types import Action, Noun

Rules = tuple[Policy, ProofRecord | None]


class Looked(Noun):
    """What was found about one version that is held, or whose promotion was not finished."""

    version: str
    action: Action | None  # None: it cannot be decided about
    approved_by: tuple[str, ...] = ()
    missing: int = 0
    why: str = ""


def promote_approved(
    home: Home,
    model: str,
    version: str | None,
    now: datetime,
    *,
    tracking_uri: str | None = None,
    rules: Rules | None = None,
) -> tuple[Looked, ...]:
    """Promote or reject what people's answers decide: one version, or each that may wait.

    rules: the policy as it is now, with its proof, if it has to be the version's. Raises what
    `answer` raises about a version that was named. Without one, a version that cannot be
    decided about is told with the reason, and stops none of the others. Raises BrokenLedger if
    the ledger is not what was written.
    """
    registry = Registry.open(home, tracking_uri)
    if version is not None:
        number = registry.aliases(model).get(version, version)
        return (_looked(_finish(home, registry, model, number, now, rules)),)
    found = []
    for number in dict.fromkeys(
        [*_begun(home, registry, model), *_held(home, model, now, tracking_uri)]
    ):
        try:
            found.append(_looked(_finish(home, registry, model, number, now, rules)))
        except (RegistryError, UsageError) as no:
            found.append(Looked(version=number, action=None, why=str(no)))
    return tuple(found)


def _finish(
    home: Home,
    registry: Registry,
    model: str,
    version: str,
    now: datetime,
    rules: Rules | None,
) -> Answered:
    with one_at_a_time(home, model):
        case = open_case(home, model, version, rules[0] if rules else None)
        if case.settled is None:
            refuse_unanswerable(case, "refuse")  # unless it is held
            if rules is not None:
                check_again(case, registry, rules)
        return settle(case, registry, None, now)


def _begun(home: Home, registry: Registry, model: str) -> Iterator[str]:
    """The version that people's answers promoted in the ledger, and that does not serve yet."""
    last = next(reversed(list(moves(Ledger(home.ledger).read(), model))), None)
    if last is None or last.version is None:
        return
    approved = last.record["predicate"]["about"].get("approvals")
    if approved and registry.aliases(model).get("champion") != last.version:
        yield last.version


def _held(home: Home, model: str, now: datetime, tracking_uri: str | None) -> Iterator[str]:
    for one in waiting(home, model, now, tracking_uri):
        if one.action is Action.HOLD:
            yield one.version


def _looked(done: Answered) -> Looked:
    return Looked(
        version=done.version,
        action=done.action,
        approved_by=done.names if done.action is not Action.REJECT else (),
        missing=done.missing,
        why=f"refused by {', '.join(done.names)}" if done.action is Action.REJECT else "",
    )
