"""Telephone numbers, by form and by the words around them.

Sees: international numbers (+44 20 7946 0958, 001-555-...x123), North American ones with
separators, national ones that begin with 0, and shorter or plain runs of digits where a
word near them (phone, mobile, call, fax ...) says what they are.
Cannot see: plain runs of digits without such a word, and numbers spelled out in words.
"""

import re
from collections.abc import Iterator

from tidegate.gates.signals.linear_regex import Regex
from tidegate.gates.signals.text import Finding

AROUND = 40  # characters on each side in which a word counts

_CANDIDATE = Regex(
    r"(?:\+|\b00)?\(?\+?\b\d{1,4}\)?(?:[ \t]?[-./()][ \t]?\(?|[ \t]\(?|\)[ \t]?)?(?:\d{1,12}\)?"
    r"(?:[-./ ]{1,2}\(?)?){1,7}(?:[ \t]?(?:x|ext\.?|extension)[ \t]?\d{1,6})?"
)
_EXTENSION = re.compile(rb"[ \t]?(?:x|ext\.?|extension)[ \t]?\d{1,6}$")
_INTERNATIONAL = re.compile(rb"\(?(?:\+|00)\(?\d")
_AREA = re.compile(rb"\(0?\d{1,5}\)")
_NORTH_AMERICAN = re.compile(rb"(?:1[-. ])?\(?[2-9]\d{2}\)?[-. ]{0,2}\d{3}[-. ]\d{4}$")
_GROUPS = re.compile(rb"\d+")
_DATE = re.compile(
    rb"^(?:(?:19|20)\d{2}[-./ ](?:0?\d|1[0-2])[-./ ][0-3]?\d"
    rb"|[0-3]?\d[-./ ][0-3]?\d[-./ ](?:19|20)?\d{2})(?:$| )"
)
_YEARS = re.compile(rb"^(?:1[5-9]|20)\d{2} ?[-/ ] ?(?:(?:1[5-9]|20)\d{2}|\d{2})$")
_CUE = re.compile(
    rb"phone|mobile|\bcell|\bfax|\btel\b|\bcall|\bdesk\b|\boffice\b|whatsapp|\bsms\b|\bdial|"
    rb"\bring\b|hotline|\btext (?:me|us|him|her|them)|reach (?:me|us|him|her|them)|"
    rb"answering at|"
    rb"contact (?:number|me|us)|\bnumber (?:is|to reach)|phone number",
    re.IGNORECASE,
)
_NOT_A_PHONE = re.compile(
    rb"(?:[$#]|usd|eur|gbp|isbn|issn|order|invoice|ticket|\bv|version|card|account|"
    rb"latitude|longitude|license|licence|doi|rfc|page|pp)"
    rb"[ \t.:#]{0,3}(?:number|no|is)?[ \t.:#]{0,3}$",
    re.IGNORECASE,
)


def find(text: bytes) -> Iterator[Finding]:
    """Telephone numbers in an ASCII text (see text.as_ascii)."""
    for match in _CANDIDATE.finditer(text):
        raw = match.group()
        stripped = raw.rstrip(b"-./ (\t")
        if stripped.endswith(b")") and b"(" not in stripped:
            stripped = stripped[:-1]
        start = match.start()
        end = start + len(stripped)
        if _touches_a_word(text, start, end):
            continue
        number = _EXTENSION.sub(b"", stripped)
        if _is_phone(number, number != stripped, text, start, end):
            yield Finding("phone", start, end)


def _touches_a_word(text: bytes, start: int, end: int) -> bool:
    before = text[start - 1 : start]
    after = text[end : end + 1]
    return (
        before.isalnum() or before in (b"_", b"$") or after.isalpha() or after in (b"_", b"%")
    )


def _is_phone(number: bytes, extended: bool, text: bytes, start: int, end: int) -> bool:
    groups = _GROUPS.findall(number)
    digits = sum(len(group) for group in groups)
    if not 6 <= digits <= 15 or _DATE.match(number) or _YEARS.match(number):
        return False
    if _looks_like_numbers(number, groups):
        return False
    if extended and digits >= 7:
        return True
    before = text[max(0, start - AROUND) : start]
    if _NOT_A_PHONE.search(before):
        return False
    if _INTERNATIONAL.match(number) and digits >= 8:
        return True
    if _NORTH_AMERICAN.match(number) and len(groups) > 1:
        return True
    if _AREA.search(number) and digits >= 7:
        return True
    leading_zero = groups[0].startswith(b"0") and len(groups) > 1
    if leading_zero and 9 <= digits <= 12 and all(len(g) <= 8 for g in groups):
        return True
    cued = _CUE.search(before) or _CUE.search(text[end : end + 12])
    return bool(cued) and digits >= 7


def _looks_like_numbers(number: bytes, groups: list[bytes]) -> bool:
    """Whether this is an address on the net, a decimal or a list of small numbers."""
    if number.count(b".") == 3 and b" " not in number and all(len(g) <= 3 for g in groups):
        return True
    if number.count(b".") == 1 and len(groups) == 2:
        return True  # a decimal
    return len(groups) > 1 and max(len(g) for g in groups) < 2
