"""Secret rules in gitleaks' TOML format, run by RE2.

Read of a file: id, regex, keywords, entropy, secretGroup, and allowlists with regexes and
stopwords (regexTarget secret or match). Rules about paths need a repository and are
skipped. A rule whose regex RE2 does not take is an error: half a rule file is no rule file.
"""

import math
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidegate.gates.digest import digest_bytes, digest_json
from tidegate.gates.signals.linear_regex import Regex
from tidegate.gates.signals.text import Finding, without_overlaps

BUILT_IN = Path(__file__).parent.parent / "secret_rules.toml"


class RuleError(ValueError):
    """A rule file that cannot be used, and where in it the mistake is."""


@dataclass(frozen=True)
class Allowlist:
    regexes: tuple[Regex, ...]
    stopwords: tuple[bytes, ...]
    on_match: bool  # else on the secret alone

    def allows(self, secret: bytes, match: bytes) -> bool:
        target = match if self.on_match else secret
        lower = secret.lower()
        return any(r.search(target) for r in self.regexes) or any(
            word in lower for word in self.stopwords
        )


@dataclass(frozen=True)
class Rule:
    id: str
    regex: Regex
    keywords: tuple[bytes, ...]
    entropy: float
    group: int
    allowlists: tuple[Allowlist, ...]

    def find(self, text: bytes, lower: bytes) -> Iterator[tuple[int, int]]:
        if self.keywords and not any(word in lower for word in self.keywords):
            return
        for match in self.regex.finditer(text):
            group = self._secret_group(match)
            secret = match.group(group)
            if self.entropy and _entropy(secret) < self.entropy:
                continue
            if not any(a.allows(secret, match.group()) for a in self.allowlists):
                yield match.span(group)

    def _secret_group(self, match: Any) -> int:
        if self.group:
            return self.group
        groups = match.groups()
        return next((i for i, found in enumerate(groups, start=1) if found), 0)


@dataclass(frozen=True)
class SecretRules:
    rules: tuple[Rule, ...]
    digest: str

    @property
    def suspect(self) -> str | None:
        """A pattern for all texts in which a rule can match; None if that is every text."""
        if any(not rule.keywords for rule in self.rules):
            return None
        words = {word for rule in self.rules for word in rule.keywords}
        return "|".join(re.escape(word.decode()) for word in sorted(words))

    def find(self, text: bytes) -> list[Finding]:
        """Secrets in an ASCII text (see text.as_ascii): sorted, without overlaps."""
        lower = text.lower()
        found = [
            Finding("secret", start, end)
            for rule in self.rules
            for start, end in rule.find(text, lower)
            if end > start
        ]
        return without_overlaps(found)


def _entropy(secret: bytes) -> float:
    """Shannon entropy in bits a character."""
    n = len(secret)
    return -sum(c / n * math.log2(c / n) for c in Counter(secret).values()) if n else 0.0


def load_rules(*paths: Path) -> SecretRules:
    """The rules of some files together, by default the built-in ones.

    Raises RuleError with the file and the rule's id.
    """
    files = paths or (BUILT_IN,)
    rules: list[Rule] = []
    for path in files:
        rules += _load(path)
    names = digest_json([digest_bytes(path.read_bytes()) for path in files])
    return SecretRules(tuple(rules), names)


def _load(path: Path) -> list[Rule]:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RuleError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RuleError(f"{path}: not TOML: {error}") from None
    if not isinstance(data.get("rules"), list) or not data["rules"]:
        raise RuleError(
            f"{path}: there are no [[rules]]; one needs an id, a regex and keywords"
        )
    everywhere = _allowlists(path, "the file", data)
    rules = []
    for i, item in enumerate(data["rules"], start=1):
        name = str(item.get("id", f"rule {i}"))
        if "regex" not in item:
            if "path" in item:
                continue
            raise RuleError(f"{path}: {name}: there is no regex")
        rules.append(
            Rule(
                id=name,
                regex=_regex(path, name, item["regex"]),
                keywords=tuple(str(word).lower().encode() for word in item.get("keywords", ())),
                entropy=float(item.get("entropy", 0)),
                group=int(item.get("secretGroup", 0)),
                allowlists=(*everywhere, *_allowlists(path, name, item)),
            )
        )
    return rules


def _allowlists(path: Path, name: str, item: dict[str, Any]) -> tuple[Allowlist, ...]:
    given = [*item.get("allowlists", ()), *([item["allowlist"]] if "allowlist" in item else ())]
    return tuple(
        Allowlist(
            regexes=tuple(_regex(path, name, pattern) for pattern in one.get("regexes", ())),
            stopwords=tuple(str(word).lower().encode() for word in one.get("stopwords", ())),
            on_match=one.get("regexTarget") == "match",
        )
        for one in given
        # With condition AND a path must match too, and a chat has no path.
        if str(one.get("condition", "OR")).upper() != "AND" or "paths" not in one
    )


def _regex(path: Path, name: str, pattern: object) -> Regex:
    try:
        return Regex(str(pattern))
    except ValueError as error:
        raise RuleError(f"{path}: {name}: {error}") from None
