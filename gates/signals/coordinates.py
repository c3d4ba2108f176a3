"""Where somebody is, as a latitude and a longitude.

Sees: two decimals with four and more places behind a word or a link that makes them a place,
fields that are called latitude and longitude, and degrees with minutes.
Cannot see: fewer places (they name a town), and two decimals that nothing explains. It
cannot tell a monument from a home.
"""

import re
from collections.abc import Iterator

from tidegate.gates.signals.linear_regex import Regex
from tidegate.gates.signals.text import Finding

_LATITUDE, _LONGITUDE = r"[-+]?[0-8]?\d\.\d{4,15}", r"[-+]?1?\d{1,2}\.\d{4,15}"
_PAIR = Regex(
    rf"(?:^|[^\w.])\(?({_LATITUDE}(?:,|%2C|;|/|,? )[ \t]?{_LONGITUDE})(?:[^\w.]|\.?$|\.\s)"
)
_CUE = re.compile(
    rb"\bgps\b|coord|\blat|\blon|\bgeo|location|\bmap|standort|ubicaci|position|\bpin\b"
    rb"|\b(?:i'?m|i am|we'?re|meet|parked?|home|live|lives|house|here|he'?s|she'?s|pick) "
    rb"|[?&](?:q|ll|center|daddr|saddr)=$|[/@]$",
    re.IGNORECASE,
)
_FIELD = Regex(
    r"\b(?:lat|latitude|lon|lng|long|longitude)\b['\"]?[ \t]{0,2}[:=>][ \t]{0,2}['\"]?"
    r"([-+]?1?\d{1,2}\.\d{4,15})",
    ignore_case=True,
)
# The signs of degrees and minutes are question marks (see text.as_ascii).
_ARC = r"\d{1,3}[? ] ?\d{1,2}['? ] ?(?:\d{1,2}(?:\.\d{1,6})?[\"'?]{0,2})? ?"
_DEGREES = Regex(rf"\b{_ARC}[NS][, ]{{0,3}}{_ARC}[EWO]\b")


def find(text: bytes) -> Iterator[Finding]:
    """Coordinates in an ASCII text (see text.as_ascii)."""
    for match in _PAIR.finditer(text):
        if _CUE.search(text[max(0, match.start(1) - 40) : match.start(1)]):
            yield Finding("coordinates", match.start(1), match.end(1))
    for match in _FIELD.finditer(text):
        yield Finding("coordinates", match.start(1), match.end(1))
    for match in _DEGREES.finditer(text):
        yield Finding("coordinates", match.start(), match.end())
