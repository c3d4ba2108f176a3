"""Telephone numbers, by form and by the words around them.

Sees: international numbers (+44 20 7946 0958, 001-555-...x123), North American ones with
separators, national ones that begin with 0, numbers that are grouped as one of the chosen
countries groups them (612 34 56 78), and shorter or plain runs of digits where a word near
them (phone, mobile, call, fax ...) says what they are.
Cannot see: plain runs of digits without such a word, unless they begin with the 0 of one of
the chosen countries, and numbers spelled out in words.
"""

import re
from collections.abc import Iterator

from tidegate.gates.signals.linear_regex import Regex
from tidegate.gates.signals.phone_regions import Region, regions
from tidegate.gates.signals.text import Finding

AROUND = 40  # characters on each side in which a word counts

_CANDIDATE = Regex(
    r"(?:\+|\b00)?\(?\+?\b\d{1,4}\)?(?:[ \t]?[-./()][ \t]?\(?|[ \t]\(?|\)[ \t]?)?(?:\d{1,12}\)?"
    r"(?:[-./ ]{1,3}\(?)?){1,15}(?:[ \t]?(?:x|ext\.?|extension)[ \t]?\d{1,6})?"
)
_EXTENSION = re.compile(rb"[ \t]?(?:x|ext\.?|extension)[ \t]?\d{1,6}$")
_INTERNATIONAL = re.compile(rb"\(?(?:\+|00)\(?\d")
_AREA = re.compile(rb"\(0?\d{1,5}\)")
_NORTH_AMERICAN = re.compile(rb"(?:1[-. ])?\(?[2-9]\d{2}\)?[-. ]{0,2}\d{3}[-. ]\d{4}$")
_GROUPS = re.compile(rb"\d+")
_DATE = re.compile(
    rb"^(?:(?:19|20)\d{2}[-./ ](?:0?\d|1[0-2])[-./ ][0-3]?\d"
    rb"|[0-3]?\d[-./][0-3]?\d[-./](?:19|20)?\d{2}|[0-3]?\d [0-3]?\d (?:19|20)\d{2})(?:$| )"
)
_YEARS = re.compile(rb"^(?:1[5-9]|20)\d{2} ?[-/ ] ?(?:(?:1[5-9]|20)\d{2}|\d{2})$")
_CUE = re.compile(
    rb"phone|mobile|\bmob\b|\bph\b|\b[tmf]: |telefoon|numer|\bcep\b|wa\.me/|\bsms:|"
    rb"(?:good|best) number|number for you|contact no\b|get me under|rzckruf|erreich|\bcell|\bfax|\btel\b|\bcall|\bdesk\b|\boffice\b|whatsapp|\bsms\b|\bdial|"
    rb"\bring\b|hotline|\btext (?:me|us|him|her|them)|reach (?:me|us|him|her|them)|"
    rb"answering at|"
    rb"contact (?:number|me|us)|\bnumber (?:is|to reach)|phone number|telegram|"
    rb"messages? to|telefon|telephone|\bt[e\xe9]l[.:]|handy(?:nummer)?\b|\bmobil\b|\bfon\b|"
    rb"celular|m[oz]vil\b|telzfon|tzlzphone|cellulare|portable|gsm\b|puhelin|\bappelez\b|"
    rb"\bbel(?:len)? me\b|\bruf\b|ll[az]ma",
    re.IGNORECASE,
)
_NOT_A_PHONE = re.compile(
    rb"(?:[$#]|\b(?:usd|eur|gbp|isbn|issn|isbn-1[03]|order|invoice|ticket|v|version|card|"
    rb"account|latitude|longitude|license|licence|doi|rfc|page|pp|sku|ean|upc|barcode|serial|"
    rb"tracking|model|part|id|mod|case|patent|reference|ref|timestamp|registration|build|run|job|pid|batch))"
    rb"[ \t.:#=]{0,3}(?:number|no|code|id|is)?[ \t.:#=]{0,3}(?:is|was)?[ \t.:#]{0,3}$",
    re.IGNORECASE,
)
# A number that is counted or paid is no telephone number.
_COUNTED = re.compile(
    rb"^ ?(?:%|usd\b|eur\b|euros?\b|dollars?\b|pounds?\b|gbp\b|people\b|inhabitants|million|"
    rb"km\b|kg\b|times\b|years\b|bytes\b|rows\b|records\b|items\b|equals\b|mod\b)",
    re.IGNORECASE,
)
_SEPARATORS = re.compile(rb"[^\d()+]+")


def find(text: bytes, locales: frozenset[str]) -> Iterator[Finding]:
    """Telephone numbers in an ASCII text (see text.as_ascii). locales: countries' codes."""
    national = regions(locales)
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
        extended = number != stripped
        if _is_phone(number, extended, text, start, end) or (
            national is not None and _is_national(number, national, text, start, end)
        ):
            yield Finding("phone", start, end)


def _touches_a_word(text: bytes, start: int, end: int) -> bool:
    before = text[start - 1 : start]
    after = text[end : end + 1]
    return (
        before.isalnum()
        or (before == b"-" and text[start - 2 : start - 1].isalnum())
        or before in (b"_", b"$")
        or after.isalpha()
        or after in (b"_", b"%")
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
    in_ones = len(groups) > 6 and max(map(len, groups)) < 2  # needs a word that explains it
    leading_zero = groups[0].startswith(b"0") and len(groups) > 1 and not in_ones
    leading_zero = leading_zero and not _is_a_row(groups)
    if leading_zero and 9 <= digits <= 12 and all(len(g) <= 8 for g in groups):
        return True
    cued = _CUE.search(before) or _CUE.search(text[end : end + 12])
    return bool(cued) and digits >= 7 and not _counts_up(b"".join(groups))


def _is_national(number: bytes, region: Region, text: bytes, start: int, end: int) -> bool:
    """Whether a country writes its numbers so, and this is one that it could give out."""
    groups = _GROUPS.findall(number)
    digits = b"".join(groups)
    if not 7 <= len(digits) <= 13 or _DATE.match(number) or _YEARS.match(number):
        return False
    if _NOT_A_PHONE.search(text[max(0, start - AROUND) : start]) or _COUNTED.search(
        text[end : end + 16]
    ):
        return False
    if text[start - 1 : start] in (b".", b"/", b"-", b"=") or (
        number.count(b".") == len(groups) - 1 and _looks_like_numbers(number, groups)
    ):
        return False
    if len(groups) == 1:
        return len(digits) >= 9 and bool(region.prefixed.search(digits))
    # The first may differ, as in 08-12 34 56.
    if len(set(_SEPARATORS.findall(number)[1:])) > 1:
        return False
    if tuple(map(len, groups)) not in region.shapes or _is_a_row(groups):
        return False
    # In threes it could be any large number, and in two groups any two numbers.
    in_threes = all(len(group) == 3 for group in groups[1:])
    if in_threes and len(groups[0]) < 3:
        return False
    in_two = len(groups) == 2 and not digits.startswith(b"0")
    if in_threes or in_two:
        return len(digits) >= 9 + in_two and bool(region.mobile.search(digits))
    return bool(region.valid.search(digits))


def _is_a_row(groups: list[bytes]) -> bool:
    """Whether these are numbers of a table: no country ends in so much shorter a group."""
    return len(groups) > 3 and len(groups[-1]) + 2 <= len(groups[-2])


def _counts_up(digits: bytes) -> bool:
    return digits in b"0123456789101112131415"


def _looks_like_numbers(number: bytes, groups: list[bytes]) -> bool:
    """Whether this is an address on the net, a decimal or a list of small numbers."""
    if number.count(b".") == 3 and len(groups) == 4 and all(int(g) < 256 for g in groups):
        return True
    if number.count(b".") == 1 and len(groups) == 2:
        return True  # a decimal
    return 1 < len(groups) < 7 and max(len(g) for g in groups) < 2
