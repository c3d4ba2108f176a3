"""Masking: findings are cut out of a record and something else is put in their place.

Personal data gives way to a stand-in of its own type that is nobody's (surrogates.py), or to
a placeholder such as [EMAIL_1]; a secret always to a placeholder, because a model that learns
well-formed keys writes them. The same value gets the same one within a record, so that the
sense survives: an address that is asked for and repeated stays one address. It gets another
one in every other record, so that records cannot be linked by it. Unicode tricks are undone
first, because they hide the rest from the detectors.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from tidegate.gates.checks.no_personal_data import PersonalData
from tidegate.gates.routing import Reason, RowGate
from tidegate.gates.signals import personal_data, surrogates, unicode_tricks
from tidegate.gates.signals.names import Names
from tidegate.gates.signals.rare_tokens import TokenAuthors
from tidegate.gates.signals.secret_rules import SecretRules
from tidegate.gates.signals.text import (
    JOINT,
    Finding,
    fields,
    with_fields,
    without_overlaps,
)

GATES = {"secret": "no_secrets", "rare": "shared_by_many"}
UNCOVERED = "found when something else was masked"
BY_NER = Reason("no_personal_data", "a name (by NER)")
ATTEMPTS = 20  # then two values of a record share a stand-in
NAMED = ("person", "place")
_NAME = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
ROUNDS = 3  # what one replacement uncovers, the next finds; more is quarantined or fails


@dataclass(frozen=True)
class Masker:
    """What to mask. `kinds` are those of personal_data; secrets need the rules.

    key: of surrogates.epoch_key. Without one, placeholders stand for everything.
    """

    kinds: frozenset[str] = frozenset()
    rules: SecretRules | None = None
    unicode: bool = False
    locales: frozenset[str] = personal_data.EVERYWHERE
    authors: TokenAuthors | None = None  # of the batch as it was received: masks rare words
    key: bytes | None = field(default=None, repr=False)
    names: Names | None = None  # none: names are not looked for

    @classmethod
    def of(
        cls,
        gates: Iterable[RowGate],
        rules: SecretRules,
        key: bytes | None = None,
        authors: TokenAuthors | None = None,
        names: Names | None = None,
    ) -> "Masker":
        """What the gates that mask need replaced. A record that one masks, all mask."""
        masking = {gate.name: gate.params for gate in gates if gate.params.mask}
        personal = masking.get("no_personal_data")
        found = cls(
            rules=rules if "no_secrets" in masking else None,
            unicode="plain_unicode" in masking,
            authors=authors if "shared_by_many" in masking else None,
        )
        if not isinstance(personal, PersonalData):
            return found
        return replace(
            found,
            kinds=frozenset(personal.kinds),
            locales=frozenset(personal.locales),
            key=key if personal.replace_with == "surrogate" else None,
            names=names if personal.names else None,
        )

    def mask(self, record: Mapping[str, Any]) -> tuple[dict[str, Any], frozenset[Reason]]:
        """The record with its findings replaced, and the gates on whose behalf.

        Raises KeyError for a record without an id, if there is a key.
        """
        texts = fields(record)
        reasons: set[Reason] = set()
        if self.unicode:
            tricks = without_overlaps(unicode_tricks.tricks(JOINT.join(texts)))
            if tricks:
                reasons.add(Reason("plain_unicode", UNCOVERED))
                texts = _replaced(texts, tricks, unicode_tricks.replacement)
        stand_ins = _StandIns(self.key, record["id"] if self.key else "")
        for turn in range(ROUNDS):
            folded = [unicode_tricks.fold(text) for text in texts]
            findings = self._findings(folded, first=not turn)
            seen = findings if folded == texts else self._findings(texts, first=not turn)
            if not findings:
                break
            if _values(folded, findings) != _values(texts, seen):
                texts = folded  # something hid behind characters that nobody sees
            else:
                findings = seen
            reasons |= {_reason(f.kind) for f in findings}
            # Where a stand-in met its neighbours and is found itself, a placeholder ends it.
            texts = _replaced(texts, findings, stand_ins.placeholder if turn else stand_ins.of)
        return with_fields(record, texts), frozenset(reasons)

    def _findings(self, texts: list[str], *, first: bool) -> list[Finding]:
        """first: nothing was replaced yet. What was is a name to a model, of nobody."""
        text = JOINT.join(texts)
        found = (
            [f for f in personal_data.find(text, self.locales) if f.kind in self.kinds]
            if self.kinds
            else []
        )
        if self.rules is not None:
            found += self.rules.find(text)
        if self.names is not None and first:
            found += self.names.find(text, found)
        if self.authors is not None:
            found += _outside(without_overlaps(found), self.authors.find(text))
        return without_overlaps(found)


def _reason(kind: str) -> Reason:
    if kind in NAMED:
        return BY_NER
    return Reason(GATES.get(kind, "no_personal_data"), UNCOVERED)


def _outside(found: Sequence[Finding], words: Iterable[Finding]) -> list[Finding]:
    """The words that lie in nothing that was found. Both are in order."""
    rest, kept = iter([*found, Finding("", 1 << 60, 1 << 60)]), []
    other = next(rest)
    for word in words:
        while other.end <= word.start:
            other = next(rest)
        if word.end <= other.start:
            kept.append(word)
    return kept


def _values(texts: list[str], findings: list[Finding]) -> list[tuple[str, str]]:
    text = JOINT.join(texts)
    return [(f.kind, text[f.start : f.end]) for f in findings]


class _StandIns:
    """What stands for each value of a record: user12345@example.org, [EMAIL_1], [SECRET_1]."""

    def __init__(self, key: bytes | None, record: str) -> None:
        self._key, self._record = key, record
        self._known: dict[tuple[str, str], str] = {}
        self._counts: dict[str, int] = {}
        self._taken: set[str] = set()

    def of(self, kind: str, value: str) -> str:
        if self._key is None or kind in ("secret", "rare"):
            return self.placeholder(kind, value)
        if kind == "person":  # word by word: Ann Lee is Ann further down
            return _NAME.sub(lambda word: self._stands_for(kind, word.group()), value)
        return self._stands_for(kind, value)

    def _stands_for(self, kind: str, value: str) -> str:
        assert self._key is not None
        bare = surrogates.normalised(kind, value)
        if (kind, bare) not in self._known:
            self._known[kind, bare] = self._stand_in(self._key, kind, value)
        return self._known[kind, bare]

    def placeholder(self, kind: str, value: str) -> str:
        name = f"[{kind}]", surrogates.normalised(kind, value)
        if name not in self._known:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            self._known[name] = f"[{kind.upper()}_{self._counts[kind]}]"
        return self._known[name]

    def _stand_in(self, key: bytes, kind: str, value: str) -> str:
        made = partial(surrogates.stand_in, kind, value, key=key, record=self._record)
        candidates = (made(attempt=attempt) for attempt in range(ATTEMPTS))
        chosen = next((one for one in candidates if one not in self._taken), made(attempt=0))
        self._taken.add(chosen)
        return chosen


def _replaced(
    texts: list[str], findings: list[Finding], replacement: Callable[[str, str], str]
) -> list[str]:
    """The texts with findings of their joined form replaced, each in its own text."""
    masked, offset = [], 0
    rest = iter([*findings, Finding("", 1 << 60, 1 << 60)])
    finding = next(rest)
    for text in texts:
        pieces, at, end = [], 0, offset + len(text)
        while finding.start < end:
            start = max(finding.start - offset, at)
            stop = min(finding.end, end) - offset
            if stop > start:
                pieces += [text[at:start], replacement(finding.kind, text[start:stop])]
                at = stop
            if finding.end > end:  # it goes on in the next text
                break
            finding = next(rest)
        masked.append("".join(pieces) + text[at:])
        offset = end + len(JOINT)
    return masked
