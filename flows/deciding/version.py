"""A version as it was decided about: its statements, its stored evidence, its rulings.

Whoever decides about a version again, by waivers or by people's answers, starts here. Only the
ledger and what its statements name by digest is believed; what somebody wrote into MLflow has
no say.
"""

from dataclasses import dataclass
from typing import Any

from tidegate.flows.home import Home
from tidegate.flows.ledger import Ledger
from tidegate.flows.looking_back.history import Entry, Lost, Past, Ruled, entry_of, read_past
from tidegate.flows.usage import UsageError
from tidegate.gates.audit import BrokenLedger
from tidegate.gates.decide import WORST_FIRST, judge
from tidegate.gates.types import Digest, Ruling, Verdict


class Undecidable(UsageError):
    """A version that cannot be decided about again, and why."""


class EvidenceLost(BrokenLedger):
    """What a decision stood on is gone or changed, so it cannot be decided again."""


@dataclass(frozen=True)
class Decided:
    """A version as it was first decided, and every statement about it since."""

    past: Past
    entries: tuple[Entry, ...]  # oldest first
    rulings: tuple[Ruling, ...]  # as first decided: judged again, and compared

    @property
    def latest(self) -> Entry:
        """The statement in force."""
        return self.entries[-1]

    @property
    def decision_id(self) -> str:
        """Of the statement in force."""
        return str(about(self.latest)["decision_id"])

    @property
    def parent(self) -> str:
        """The champion that it was compared with."""
        return str(about(self.past.entry)["parent"])

    @property
    def candidate(self) -> Digest:
        entry = self.past.entry
        digest = entry.subject("adapter")
        if digest is None or self.past.evidence_model is None:
            raise Undecidable(
                f"version {entry.version} was never trained or measured, and people cannot make "
                "up for that: mend what stopped the update, and run it again"
            )
        if self.past.evidence_model.subject != digest:
            raise EvidenceLost(
                f"the evidence of version {entry.version} is about {self.past.evidence_model.subject}, "
                f"its statement about {digest}"
            )
        return digest

    def rulings_of(self, entry: Entry) -> tuple[Ruling, ...]:
        """The rulings as one of the statements has them, each with its outcome judged again.

        Raises EvidenceLost if the statement says more than waivers can have made of them.
        """
        first = {ruling.title: ruling for ruling in self.rulings}
        return tuple(_since(ruled, first.get(ruled.gate)) for ruled in entry.rulings)


def about(entry: Entry) -> dict[str, Any]:
    found: dict[str, Any] = entry.record["predicate"]["about"]
    return found


def decided(home: Home, model: str, version: str) -> Decided:
    """What the ledger and the stored evidence say about a version, by its number.

    Raises Undecidable if there is no decision about it, EvidenceLost if the evidence is not
    what its statement is about, BrokenLedger if the ledger is not what was written.
    """
    entries = tuple(
        entry_of(digest, record)
        for digest, record in Ledger(home.ledger).read()
        if record["predicate"]["act"] == "decide"
        and record["predicate"]["model"] == model
        and record["predicate"]["about"].get("version") == version
    )
    if not entries:
        raise Undecidable(
            f"the ledger {home.ledger} has no decision about version {version!r} of {model!r}; "
            "name one that an update made"
        )
    past = read_past(home, entries[0])
    if isinstance(past, Lost):
        raise EvidenceLost(past.why)
    return Decided(past, entries, _judged_again(past))


def _since(ruled: Ruled, first: Ruling | None) -> Ruling:
    if first is None:  # asked for when it was decided again, such as people's approval
        return _as_recorded(ruled)
    steps = WORST_FIRST.index(ruled.action) - WORST_FIRST.index(first.action)
    people = bool(ruled.waived) + ruled.approved  # each takes one step back
    if ruled.outcome != first.verdict.outcome or steps != people:
        raise EvidenceLost(
            f"{ruled.gate} was {first.verdict.outcome} → {first.action} at first, and a later "
            f"statement has it as {ruled.outcome} → {ruled.action}"
        )
    return first.model_copy(
        update={"action": ruled.action, "waived": ruled.waived, "approved": ruled.approved}
    )


def _judged_again(past: Past) -> tuple[Ruling, ...]:
    """The recorded rulings, those of gates made anew from the stored evidence."""
    evidence = [e for e in (past.evidence_data, past.evidence_model) if e is not None]
    again = {r.title: r for e in evidence for r in judge(past.policy, e)}
    rulings = []
    for recorded in past.entry.rulings:
        ruling = again.pop(recorded.gate, None)
        if ruling is None:
            ruling = _as_recorded(recorded)
        elif (ruling.verdict.outcome, ruling.action) != (recorded.outcome, recorded.action):
            raise EvidenceLost(
                f"{recorded.gate} was {recorded.outcome} → {recorded.action}, and the stored "
                f"evidence now gives {ruling.verdict.outcome} → {ruling.action}: the gates "
                "changed since. Run the update again"
            )
        rulings.append(ruling)
    if again:
        raise EvidenceLost(f"the statement has no ruling of {', '.join(sorted(again))}")
    return tuple(rulings)


def _as_recorded(ruled: Ruled) -> Ruling:
    """What no gate said: envelope, budget, proof, approval."""
    return Ruling(
        gate=ruled.gate,
        title=ruled.gate,
        verdict=Verdict(
            outcome=ruled.outcome,
            reason=ruled.reason,
            observed=None if ruled.observed is None else float(ruled.observed),
            limit=None if ruled.limit is None else float(ruled.limit),
        ),
        action=ruled.action,
        why="as the statement has it",
    )
