"""Dates of birth: a date that the text calls one.

Sees: labels (DOB, date of birth, and what forms in a dozen languages call it), "I was born
on", "my birthday is", and "born" before a date in digits, as records have it.
Cannot see: a date that nothing explains, a birthday without a year behind other words, and
an age. A sentence about somebody else ("she was born on May 4, 1961") is left alone: it is
how encyclopedias write. So is any year before 1900.
"""

from collections.abc import Iterator

from tidegate.gates.signals.linear_regex import Regex
from tidegate.gates.signals.text import Finding, as_ascii

_MONTH = r"[A-Z][a-z]{2,12}\.?"
_YEAR = r"(?:(?:19|20)\d\d|'?\d\d)"
_DIGITS = (
    r"(?:19|20)\d\d[-/. ]{1,2}[01]?\d[-/. ]{1,2}[0-3]?\d|[0-3]?\d ?[-/.] ?[0-3]?\d ?[-/.] ?"
    rf"{_YEAR}|[0-3]\d [01]\d (?:19|20)\d\d"
)
_WORDS = (
    rf"{_MONTH} [0-3]?\d(?:st|nd|rd|th)?,? {_YEAR}"
    rf"|[0-3]?\d(?:st|nd|rd|th|\.)?(?: (?:of|de))? {_MONTH}(?: de)?,? {_YEAR}"
    rf"|[0-3]?\d[-/]{_MONTH}[-/]{_YEAR}"
)
_LABELS = as_ascii(
    r"d\.?o\.?b\.?|(?:date|day|year)[ _-]?of[ _-]?birth|birth[ _-]?da(?:te|y)"
    r"|geburts(?:datum|tag)|geboren am|geb\.|n[ée]e? le|date[ _]de[ _]naissance|anniversaire"
    r"|fecha[ _]de[ _]nacimiento|nacid[oa] el|cumplea\S{1,2}os|nat[oa] il|data[ _]di[ _]nascita"
    r"|geboortedatum|geboren op|data[ _]de[ _]nascimento|nascid[oa] em|data[ _]urodzenia"
    r"|urodzon[ya]|född|fødselsdato|fødselsdag|syntymäaika|syntynyt|doğum[ _]tarihi"
    r"|datum[ _]narození|születési"
).decode()
_LABELLED = Regex(
    rf"(?:^|[^A-Za-z])(?i:{_LABELS})(?: is| was|'s)?(?: on| ist| est| es)?[^\w\n]{{1,8}}"
    rf"(?:the )?({_DIGITS}|{_WORDS})(?:[^0-9A-Za-z]|$)"
)
_OWN = Regex(
    rf"\b(?i:i was born|i'm born|my birthday|my date of birth|my dob)\b[^\d\n.;!?]{{1,30}}"
    rf"(?:^|\W)({_DIGITS}|{_WORDS})(?:[^0-9A-Za-z]|$)"
)
_BARE = Regex(rf"(?:^|[^\w])(?i:born|b\.|geb|nze?|birth):? ({_DIGITS})(?:[^0-9A-Za-z]|$)")


def find(text: bytes) -> Iterator[Finding]:
    """Dates of birth in an ASCII text (see text.as_ascii)."""
    for pattern in (_LABELLED, _OWN, _BARE):
        for match in pattern.finditer(text):
            if not _is_told(text, match.start()):
                yield Finding("birth_date", match.start(1), match.end(1))


def _is_told(text: bytes, start: int) -> bool:
    """Whether it is a sentence about somebody: she was born on."""
    words = text[max(0, start - 8) : start + 1].lower().split()
    return bool(words) and words[-1] in (b"was", b"were", b"wurde", b"fue", b"est")
