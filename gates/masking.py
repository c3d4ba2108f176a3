"""Masking: findings are cut out of a record and a placeholder put in their place.

The same value gets the same placeholder within a record, so that the sense survives: an
address that is asked for and repeated stays one address. It never gets the same one in
another record, so that records cannot be linked by it. Unicode tricks are undone first,
because they hide the rest from the detectors.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tidegate.gates.checks.no_personal_data import PersonalData
from tidegate.gates.routing import RowGate
from tidegate.gates.signals import personal_data, unicode_tricks
from tidegate.gates.signals.secret_rules import SecretRules
from tidegate.gates.signals.text import (
    JOINT,
    Finding,
    as_ascii,
    fields,
    with_fields,
    without_overlaps,
)

ROUNDS = 3  # what one replacement uncovers, the next finds; more is quarantined or fails


@dataclass(frozen=True)
class Masker:
    """What to mask. `kinds` are those of personal_data; secrets need the rules."""

    kinds: frozenset[str] = frozenset()
    rules: SecretRules | None = None
    unicode: bool = False

    @classmethod
    def of(cls, gates: Iterable[RowGate], rules: SecretRules) -> "Masker":
        """What the gates that mask need replaced. A record that one masks, all mask."""
        masking = {gate.name: gate.params for gate in gates if gate.params.mask}
        personal = masking.get("no_personal_data")
        return cls(
            kinds=frozenset(personal.kinds)
            if isinstance(personal, PersonalData)
            else frozenset(),
            rules=rules if "no_secrets" in masking else None,
            unicode="plain_unicode" in masking,
        )

    def mask(self, record: Mapping[str, Any]) -> tuple[dict[str, Any], frozenset[str]]:
        """The record with its findings replaced, and the gates on whose behalf."""
        texts = fields(record)
        gates: set[str] = set()
        if self.unicode:
            tricks = without_overlaps(unicode_tricks.tricks(JOINT.join(texts)))
            if tricks:
                gates.add("plain_unicode")
                texts = _replaced(texts, tricks, unicode_tricks.replacement)
        names = _Names()
        for _ in range(ROUNDS):
            folded = [unicode_tricks.fold(text) for text in texts]
            findings, seen = self._findings(folded), self._findings(texts)
            if not findings:
                break
            if _values(folded, findings) != _values(texts, seen):
                texts = folded  # something hid behind characters that nobody sees
            else:
                findings = seen
            gates |= {
                "no_secrets" if f.kind == "secret" else "no_personal_data" for f in findings
            }
            texts = _replaced(texts, findings, names.of)
        return with_fields(record, texts), frozenset(gates)

    def _findings(self, texts: list[str]) -> list[Finding]:
        text = JOINT.join(texts)
        found = (
            [f for f in personal_data.find(text) if f.kind in self.kinds] if self.kinds else []
        )
        if self.rules is not None:
            found += self.rules.find(as_ascii(text))
        return without_overlaps(found)


def _values(texts: list[str], findings: list[Finding]) -> list[tuple[str, str]]:
    text = JOINT.join(texts)
    return [(f.kind, text[f.start : f.end]) for f in findings]


class _Names:
    """Placeholders by kind and value: [EMAIL_1], [EMAIL_2], [CARD_1]."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], str] = {}
        self._counts: dict[str, int] = {}

    def of(self, kind: str, value: str) -> str:
        bare = re.sub(r"[\W_]+", "", value).casefold()
        if (kind, bare) not in self._known:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            self._known[kind, bare] = f"[{kind.upper()}_{self._counts[kind]}]"
        return self._known[kind, bare]


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
