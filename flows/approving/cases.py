"""A version that waits for people: what they would answer, and the answers that there are.

Answers are DSSE envelopes below `approvals/` in the home, a folder for each statement that holds
a version. A file that is damaged, foreign, expired or about anything else counts for nothing;
`answers` says why. Whether it counts is asked of gates/approval.py.

The reviewers who count are those that the policy of the update named and that its file of
reviewers still names today: a key that was taken out counts no more, whatever it signed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from tidegate.flows.deciding.reviewers_now import policy_now
from tidegate.flows.deciding.version import Decided, Undecidable, about, decided
from tidegate.flows.home import Home
from tidegate.flows.ledger import Ledger
from tidegate.flows.looking_back.history import Entry
from tidegate.flows.signing import envelope
from tidegate.flows.signing.keys import PublicKey
from tidegate.flows.usage import UsageError
from tidegate.gates.approval import PAYLOAD_TYPE, Answer, Subject, Word, refusals
from tidegate.gates.policy.nouns import Policy, Reviewer
from tidegate.gates.types import Noun, Ruling

MOST_BYTES = 1 << 20
WORDS: dict[str, Word] = {"approvals": "approve", "refusals": "refuse"}  # in a statement


class AnswerError(UsageError):
    """An answer that cannot be given, with every reason."""


class AnswerState(Noun):
    """An answer as it is seen now."""

    path: Path
    answer: Answer | None
    keyid: str = ""
    reasons: tuple[str, ...] = ()  # why it does not count


@dataclass(frozen=True)
class Case:
    """A version, and the statement about it that people answer."""

    home: Home
    model: str
    version: Decided
    entry: Entry  # the statement that holds it
    settled: Entry | None  # the statement that their answers led to
    given: Policy | None = None  # the policy as it is today, if whoever asks gave it

    @property
    def policy(self) -> Policy:
        return self.version.past.policy

    @property
    def requester(self) -> str:
        asked = about(self.version.past.entry).get("requester")
        if not asked:
            raise Undecidable(
                f"{self.entry.statement}: it does not say who asked for the update, so nobody "
                "knows who may not approve it; run the update again"
            )
        return str(asked)

    @property
    def word(self) -> Word | None:
        """What people's answers came to, if they came to anything."""
        said = about(self.settled) if self.settled else {}
        return next((word for kind, word in WORDS.items() if said.get(kind)), None)

    @cached_property
    def rulings(self) -> tuple[Ruling, ...]:
        return self.version.rulings_of(self.entry)

    @cached_property
    def subject(self) -> Subject:
        candidate = self.version.candidate  # first: it says so if nothing was ever trained
        found = {name: self.entry.subject(name) for name in ("base", "policy")}
        evidence = [self.entry.subject(f"evidence/{kind}") for kind in ("data", "model")]
        if None in (*found.values(), *evidence):
            raise Undecidable(f"{self.entry.statement}: it does not say what it stands on")
        return Subject(
            model=self.model,
            version=self.entry.version,
            candidate=candidate,
            base=found["base"] or "",
            policy=found["policy"] or "",
            evidence_data=evidence[0] or "",
            evidence_model=evidence[1] or "",
            decision=self.entry.statement,
        )

    @property
    def folder(self) -> Path:
        return self.home.root / "approvals" / self.entry.statement.removeprefix("sha256:")

    def reviewer(self, key: PublicKey) -> Reviewer | None:
        return reviewers_by_key(self.policy).get(key.keyid)

    def is_revoked(self, keyid: str) -> bool:
        """Whether the file of reviewers does not name this key any more, or not just so."""
        return keyid not in reviewers_by_key(self._now)

    @cached_property
    def _now(self) -> Policy:
        return policy_now(self.home, self.version.past, self.given)

    def answers(self, now: datetime) -> tuple[AnswerState, ...]:
        """Every file of an answer, by name."""
        return tuple(self._state(path, now) for path in sorted(self.folder.glob("[!.]*.json")))

    def recorded(self, word: Word) -> tuple[dict[str, Any], ...]:
        """What the ledger says of answers to this very statement, oldest first."""
        return tuple(
            record["predicate"]["about"]
            for _, record in Ledger(self.home.ledger).read()
            if record["predicate"]["act"] == word
            and record["predicate"]["model"] == self.model
            and record["predicate"]["about"].get("answers") == self.entry.statement
        )

    def _state(self, path: Path, now: datetime) -> AnswerState:
        known = reviewers_by_key(self.policy)
        keys = [PublicKey.parse(reviewer.key) for reviewer in self.policy.reviewers]
        try:
            with path.open("rb") as file:
                data = file.read(MOST_BYTES)
            payload, signatures = envelope.verify(data, PAYLOAD_TYPE, keys)
            answer = Answer.parse(payload)
        except (UsageError, ValueError) as no:
            why = str(no) if isinstance(no, UsageError) else "its content is no answer"
            return AnswerState(path=path, answer=None, reasons=(why,))
        reasons = refusals(
            answer,
            about=self.subject,
            requester=self.requester,
            signers=[known[keyid] for keyid in signatures.good],
            unknown=signatures.unknown,
            policy=self.policy,
            now=now,
        )
        keyid = signatures.good[0] if signatures.good else ""
        if keyid and self.is_revoked(keyid):
            reasons = [*reasons, f"{known[keyid].name} is no reviewer any more"]
        return AnswerState(path=path, answer=answer, keyid=keyid, reasons=tuple(reasons))


def open_case(home: Home, model: str, version: str, today: Policy | None = None) -> Case:
    """The version with the statement that people answer about it, by its number.

    today: the policy as it is now, instead of the file that the update was asked with. Once they answered, that is the one which their decision superseded. Raises what `decided`
    raises.
    """
    found = decided(home, model, version)
    said = about(found.latest)
    if not any(said.get(kind) for kind in WORDS):
        return Case(home, model, found, found.latest, None, today)
    held = [entry for entry in found.entries if entry.statement == said["supersedes"]]
    return Case(home, model, found, held[0], found.latest, today)


def reviewers_by_key(policy: Policy) -> dict[str, Reviewer]:
    return {PublicKey.parse(reviewer.key).keyid: reviewer for reviewer in policy.reviewers}


def names_of(states: Sequence[AnswerState], word: Word) -> tuple[str, ...]:
    """Who said so, each once, of the answers that count."""
    return tuple(
        sorted(
            {
                s.answer.name
                for s in states
                if s.answer and not s.reasons and s.answer.word == word
            }
        )
    )
