"""Secret rules in gitleaks' TOML format, run by RE2.

Read of a file: id, regex, keywords, entropy, secretGroup, and allowlists (of a rule, of the
file, or of the rules that targetRules names) with regexes, stopwords, condition, and
regexTarget secret, match or line. Paths and commits need a repository, so rules about them
alone are left out, they allow nothing, and a rule that wants a path looks everywhere. By
extend.useDefault a file stands on gitleaks' own rules; these are not here, and what a file
changes in them is left out. All that is left out is told in `notes`, and only makes less be
allowed. What changes a rule's meaning and is not read here (another file by extend.path,
composite rules) is an error, as is a regex that RE2 does not take: half a rule file is no
rule file.
"""

import math
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidegate.gates.digest import digest_bytes, digest_json
from tidegate.gates.signals import password_words
from tidegate.gates.signals.linear_regex import Regex
from tidegate.gates.signals.text import Finding, as_ascii, without_overlaps

LINE = 500  # characters of a line that are looked at before and after a match
BUILT_IN = Path(__file__).parent.parent / "secret_rules.toml"


class RuleError(ValueError):
    """A rule file that cannot be used, and where in it the mistake is."""


@dataclass(frozen=True)
class Allowlist:
    regexes: tuple[Regex, ...]
    stopwords: tuple[bytes, ...]
    target: str  # of the regexes: secret, match or line
    all_of_them: bool  # condition AND: one regex and one stopword must both be there
    rules: frozenset[str]  # ids; empty: every rule

    def allows(self, secret: bytes, match: bytes, line: bytes) -> bool:
        target = {"match": match, "line": line}.get(self.target, secret)
        lower = secret.lower()
        answers = []
        if self.regexes:
            answers.append(any(regex.search(target) for regex in self.regexes))
        if self.stopwords:
            answers.append(any(word in lower for word in self.stopwords))
        return bool(answers) and (all(answers) if self.all_of_them else any(answers))


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
            if secret is None or (self.entropy and _entropy(secret) <= self.entropy):
                continue
            if self.allowlists:
                line = _line(text, match.start(), match.end())
                if any(a.allows(secret, match.group(), line) for a in self.allowlists):
                    continue
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
    notes: tuple[str, ...] = ()  # what of the files was left out, and why

    @property
    def suspect(self) -> str | None:
        """A pattern for all texts in which a rule can match; None if that is every text."""
        if any(not rule.keywords for rule in self.rules):
            return None
        words = {word for rule in self.rules for word in rule.keywords}
        # What as_ascii makes of other characters may stand for these in the text itself.
        patterns = [
            "".join(
                rf"(?:{re.escape(c)}|[^\x00-\x7f])" if not c.isalpha() or c == "z" else c
                for c in word
            )
            for word in sorted(word.decode() for word in words)
        ]
        return "|".join([*patterns, password_words.PATTERN])

    def find(self, text: str) -> list[Finding]:
        """Secrets in a text: sorted, without overlaps."""
        plain = as_ascii(password_words.in_english(text))
        lower = plain.lower()
        found = [
            Finding("secret", start, end)
            for rule in self.rules
            for start, end in rule.find(plain, lower)
            if end > start
        ]
        return without_overlaps(found)


def _line(text: bytes, start: int, end: int) -> bytes:
    """The lines of a match, or what is near it where they are long."""
    first = text.rfind(b"\n", max(0, start - LINE), start) + 1 or max(0, start - LINE)
    last = text.find(b"\n", end, end + LINE)
    return text[first : last if last >= 0 else end + LINE]


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
    notes: list[str] = []
    for path in files:
        more, left_out = _load(path)
        rules += more
        notes += [f"{path.name}: {note}" for note in left_out]
    names = digest_json([digest_bytes(path.read_bytes()) for path in files])
    return SecretRules(tuple(rules), names, tuple(notes))


def _load(path: Path) -> tuple[list[Rule], list[str]]:
    """The rules of a file, and what of it was left out."""
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
    extend = data.get("extend", {})
    if "path" in extend:
        raise RuleError(f"{path}: extend.path is not followed; name that file's rules in this")
    everywhere = _allowlists(path, "the file", data)
    rules, notes = [], []
    if extend.get("useDefault"):
        notes.append("extend.useDefault: gitleaks' own rules are not here, the built-in are")
    if extend.get("disabledRules"):
        notes.append("extend.disabledRules: no built-in rule is turned off")
    for i, item in enumerate(data["rules"], start=1):
        name = str(item.get("id", f"rule {i}"))
        if "regex" in item:
            if item.get("skipReport", False):
                notes.append(f"{name}: it reports nothing by itself (skipReport)")
            else:
                rules.append(_rule(path, f"rule {i}", item, everywhere))
                if "path" in item:
                    notes.append(f"{name}: looks everywhere, since a chat has no path")
        elif "path" in item:
            notes.append(f"{name}: left out, since it is about a path alone")
        elif extend.get("useDefault"):
            notes.append(f"{name}: left out, since it changes a rule of gitleaks' own")
        else:
            raise RuleError(f"{path}: {name}: there is no regex")
    if not rules:
        raise RuleError(f"{path}: no rule is left of it; {'; '.join(notes)}")
    return rules, notes


def _rule(
    path: Path, place: str, item: dict[str, Any], everywhere: Sequence[Allowlist]
) -> Rule:
    name = _text(path, place, item, "id", default=place)
    if "required" in item:
        raise RuleError(f"{path}: {name}: rules that require others are not supported")
    regex = _regex(path, name, _text(path, name, item, "regex"))
    group = item.get("secretGroup", 0)
    if not isinstance(group, int) or not 0 <= group <= regex.groups:
        raise RuleError(
            f"{path}: {name}: secretGroup is {group!r}; the regex has {regex.groups} groups"
        )
    entropy = item.get("entropy", 0)
    if not isinstance(entropy, int | float) or not 0 <= entropy <= 8:
        raise RuleError(f"{path}: {name}: entropy is {entropy!r}; it is a number from 0 to 8")
    return Rule(
        id=name,
        regex=regex,
        keywords=_words(path, name, item, "keywords"),
        entropy=float(entropy),
        group=group,
        allowlists=(
            *(one for one in everywhere if not one.rules or name in one.rules),
            *_allowlists(path, name, item),
        ),
    )


def _allowlists(path: Path, name: str, item: dict[str, Any]) -> tuple[Allowlist, ...]:
    given = [*item.get("allowlists", ()), *([item["allowlist"]] if "allowlist" in item else ())]
    found = []
    for one in given:
        all_of_them = str(one.get("condition", "OR")).upper() in ("AND", "&&")
        if all_of_them and (one.get("paths") or one.get("commits")):
            continue  # a path or commit must match too, and a chat has none
        target = one.get("regexTarget", "secret") or "secret"
        if target not in ("secret", "match", "line"):
            raise RuleError(
                f"{path}: {name}: regexTarget is {target!r}; it is secret, match or line"
            )
        found.append(
            Allowlist(
                regexes=tuple(
                    _regex(path, name, pattern) for pattern in _list(path, name, one, "regexes")
                ),
                stopwords=_words(path, name, one, "stopwords"),
                target=target,
                all_of_them=all_of_them,
                rules=frozenset(_list(path, name, one, "targetRules")),
            )
        )
    return tuple(found)


def _text(
    path: Path, name: str, item: dict[str, Any], key: str, default: str | None = None
) -> str:
    value = item.get(key, default)
    if not isinstance(value, str):
        raise RuleError(f"{path}: {name}: {key} is {value!r}; it is a text")
    return value


def _list(path: Path, name: str, item: dict[str, Any], key: str) -> list[str]:
    value = item.get(key, [])
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise RuleError(f"{path}: {name}: {key} is {value!r}; it is a list of texts")
    return value


def _words(path: Path, name: str, item: dict[str, Any], key: str) -> tuple[bytes, ...]:
    return tuple(as_ascii(word.lower()) for word in _list(path, name, item, key))


def _regex(path: Path, name: str, pattern: str) -> Regex:
    # In the one-byte form in which a text is searched (see text.as_ascii).
    plain = "".join(
        c if c.isascii() else as_ascii(c).decode() if c.isalnum() else r"\?" for c in pattern
    )
    try:
        return Regex(plain)
    except ValueError as error:
        raise RuleError(f"{path}: {name}: {error}") from None
