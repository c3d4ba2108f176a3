"""Postal addresses: by street words, unit and box numbers, postcodes, and words of place.

Sees: a number next to a street word of some twenty languages, suites, flats and boxes,
military mail, a postcode that is called one, and a number with a capitalised name where the
sentence says that an address follows ("meet me at 76 Dalmatinova"). From such an anchor it
takes the words around that look like parts of the same address.
Cannot see: towns and countries alone, addresses without a number, other scripts' forms.
A public address (a shop's) looks the same as a private one, and is found too.
"""

import re
from collections.abc import Iterator

from tidegate.gates.signals.linear_regex import Regex
from tidegate.gates.signals.text import Finding, as_ascii


def _words(words: str) -> str:
    """Alternatives, in the one-byte form in which the text is searched."""
    return as_ascii("|".join(words.split())).decode()


_SUFFIXES = (
    "street str st road rd avenue ave av boulevard blvd lane ln drive dr court ct place pl "
    "square sq terrace parkway pkwy highway hwy circle crescent way alley trail turnpike mall "
    "loop plaza walk close grove row mews gardens quay embankment strasse straße gasse weg "
    "platz allee ufer damm straat laan plein gade vej gata gatan vägen veien vegen gate katu "
    "tie utca tér ulica via viale vicolo piazza corso rua avenida calle carrera rue chaussée "
    "ulitsa cesta ulice náměstí odos"
)
_SUFFIX = _words(_SUFFIXES)
_IS_SUFFIX = frozenset(_SUFFIX.encode().split(b"|"))
# Endings that make one word with the street's name, as in Pachergasse or Tawastintie.
_ENDINGS = tuple(
    _words(
        "strasse straße gasse platz allee straat laan gade vej gata gatan vägen veien vegen "
        "katu tie stræde straede stræti straeti utca polku stigen gränd braut kuja baan weg"
    )
    .encode()
    .split(b"|")
)
_PREFIXES = (
    "via viale vicolo piazza corso rua avenida av calle rue ul ulica u boulevard "
    "λεωφόρος Λεωφόρος"
)
_PREFIX = _words(_PREFIXES)
_NAME = r"[A-Z][\w'.?-]{0,30}"
_LINKS = (
    "de dei del degli delle della el los las al di da do dos das des du la le van von der den "
    "af of the y e"
)
_LINK = f"(?:{_words(_LINKS)})"
_HOUSE = r"#?\d{1,6}[A-Za-z]?"

_UNIT = Regex(
    r"\b(?:suite|ste\.?|apt\.?|apartment|unit|flat|p\.? ?o\.? ?box|psc|box)"
    r"[ \t]{0,2}#?[ \t]{0,2}\d{1,6}\b",
    ignore_case=True,
)
_MILITARY = Regex(
    r"\b(?:(?:USNV|USNS|USS|USCGC) \w{2,20}\s{1,3})?[ADF]PO,? A[AEP] \d{5}\b", ignore_case=True
)
_NUMBER_STREET = Regex(
    rf"\b{_HOUSE}[ \t]{{1,2}}"
    rf"(?:(?:{_NAME}|{_LINK}|\d{{1,4}}(?:st|nd|rd|th)?)[ \t]{{1,2}}){{1,5}}"
    rf"(?i:{_SUFFIX})\b"
)
_BETWEEN = Regex(rf"\b\d{{3,6}}[ \t](?:{_NAME}[ \t]){{1,3}}\d{{1,4}}[A-Za-z]?\b")
_ARITHMETIC = (b"%", b":", b"*", b"/", b"&", b".", b"-")  # a score or a sum, no address
_BEFORE_NUMBER = Regex(
    rf"\b(?:({_NAME})[ \t])?(\w{{2,40}})\.?,?[ \t]{{1,2}}\d{{1,5}}[A-Za-z]?\b"
)
_PREFIXED = Regex(
    rf"\b(?i:{_PREFIX})\b\.?[ \t]{{1,2}}(?:(?:{_NAME}|{_LINK})[ \t,]{{1,2}}){{1,5}}\d{{1,5}}\b"
    rf"|\b\d{{1,6}},?[ \t]{{1,2}}(?i:{_PREFIX})\b\.?[ \t]{{1,2}}{_NAME}"
    rf"|\b\w[\w']{{1,25}}[ \t](?:utca|u\.|{_words('tér')}|str\.)[ \t]{{1,2}}\d{{1,4}}\b"
)
_POSTCODE = Regex(
    r"\b(?:zip|postal|post)(?:[ -]?code)?\b(?:[ \t](?:is|number|code))?[ \t:=#]{1,4}"
    r"([A-Za-z]{0,2}-?\d[A-Za-z0-9]{1,8}(?:[ -][0-9A-Z]{1,4})?)\b",
    ignore_case=True,
)
# Words after which a number with a name is a place.
_CUE = Regex(
    r"\b(?:address(?:es)?(?: (?:of|for) [^\n:]{1,40}?)?"
    r"(?: is| are| to|, here they are| to the same)?:?"
    r"|here they are:|corner of|one to|side of|driver to|move[ds]? to|relocat\w{1,4} to"
    r"|(?:lives?|living|resides?|located|meeting|meet|meet you|meet me|meet us) (?:at|on|in)"
    r"|(?:send|sent|ship|shipped|deliver|delivered|return|returned|delivery)"
    r"(?: it| this)? to"
    r"|(?:station|stop|office|building|house|shop|entrance|party|event|clinic)"
    r" (?:is )?(?:at|on|in)"
    r"|(?:drops?|dropped) (?:you|me|us) off (?:at|on)"
    r"|(?:stop|enter|arrive|arrived|wait|park) (?:at|on|in)"
    r"|(?:it|that|there|they|he|she|we|i)(?:['?]?s|['?]re| is| are| am) (?:in|at|on))"
    r"[ \t\n]{1,3}",
    ignore_case=True,
)
_AFTER_CUE = re.compile(
    rf"(?:(?:the )?corner of )?"
    rf"(?:{_HOUSE},?[ \t]{{1,2}}(?:\d{{1,4}} )?(?:{_NAME}|\w{{3,25}} \d{{1,5}}\b)"
    rf"|(?:(?:{_NAME}|{_LINK}),?[ \t]{{1,2}}){{1,5}}#?\d{{1,6}}\b)".encode(),
)
_NOT_A_STREET = re.compile(
    rb"\b(?:january|february|march|april|may|june|july|august|september|october|november|december|"
    rb"jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec|monday|tuesday|wednesday|thursday|friday|"
    rb"saturday|sunday|chapter|section|table|figure|level|floor|gate|terminal|platform|flight|"
    rb"version|windows|room|page|step|day|week|year|season|episode|part|phase|grade|am|pm|o'clock|"
    rb"hours?|minutes?|days?|people|dollars|usd|century|stars?|python|gpt|iphone|"
    rb"covid|world war|track|line|route|highway|exit|article|verse|psalm|exodus|genesis|act|"
    rb"scene|class)\b",
    re.IGNORECASE,
)

_TOKEN = re.compile(rb"\S{1,60}")
_LAST = re.compile(rb"(\S{1,60})(\s{1,8})$")
_PART = re.compile(
    rf"^\W{{0,6}}(?:[A-Z]|\d)|^[,>|*?-]{{1,3}}$"
    rf"|^\W{{0,2}}(?:{_LINK}|nan|nad|and|str|u|ul|utca|st)\W{{0,2}}$".encode()
)
_ENDS = re.compile(rb"\w[?!;:]$|\w{4,}\.$|\d\.$")
_CLOSING = re.compile(rb"[.,;:?!>|*\s]*$")
_TAIL = re.compile(rb"\s(?:and|the|of|for|in|a)$")
MAX_LEFT, MAX_RIGHT = 8, 14  # words that may belong to an address, from its anchor


def find(text: bytes) -> Iterator[Finding]:
    """Postal addresses in an ASCII text (see text.as_ascii)."""
    for match in _POSTCODE.finditer(text):
        yield Finding("address", match.start(1), match.end(1))
    reached = 0
    for start, end in sorted(_anchors(text)):
        if end <= reached:
            continue
        start, end = max(reached, _left(text, start)), _right(text, end)
        reached = end
        yield Finding("address", start, end)


def _anchors(text: bytes) -> Iterator[tuple[int, int]]:
    for pattern in (_UNIT, _MILITARY, _NUMBER_STREET, _PREFIXED):
        for match in pattern.finditer(text):
            yield match.span()
    for match in _BETWEEN.finditer(text):
        goes_on = text[match.end() : match.end() + 2].lstrip().startswith(_ARITHMETIC)
        if not goes_on and not _NOT_A_STREET.search(match.group()):
            yield match.span()
    for match in _BEFORE_NUMBER.finditer(text):
        word = match.group(2).lower()
        if (word in _IS_SUFFIX and match.group(1)) or (
            word.endswith(_ENDINGS) and len(word) > 5 and match.group(2)[:1].isupper()
        ):
            yield match.span()
    for cue in _CUE.finditer(text):
        named = _AFTER_CUE.match(text, cue.end())
        if named and not _NOT_A_STREET.search(text[named.start() : named.end() + 8]):
            yield named.span()


def _right(text: bytes, end: int) -> int:
    """Where the address ends that an anchor began: words that look like parts of it."""
    lines = 0
    for _ in range(MAX_RIGHT):
        token = _TOKEN.search(text, end, end + 64)
        if token is None or _ENDS.search(text[max(0, end - 5) : end]):
            break
        lines += b"\n" in text[end : token.start()]
        if lines > 5 or not _PART.search(token.group()):
            break
        end = token.end()
    return _without_tail(text, end)


def _without_tail(text: bytes, end: int) -> int:
    """Without the words that only led on to what follows the address."""
    while True:
        end -= len(_CLOSING.findall(text[max(0, end - 64) : end])[0])
        tail = _TAIL.search(text[max(0, end - 8) : end])
        if tail is None:
            return end
        end -= len(tail.group())


def _left(text: bytes, start: int) -> int:
    """Where the address begins that an anchor is part of."""
    lines = 0
    for _ in range(MAX_LEFT):
        token = _LAST.search(text[max(0, start - 64) : start])
        if token is None or _ENDS.search(token.group(1)):
            break
        lines += b"\n" in token.group(2)
        if lines > 2 or b"\n\n" in token.group(2) or not _PART.search(token.group(1)):
            break
        start -= len(token.group())
    return start
