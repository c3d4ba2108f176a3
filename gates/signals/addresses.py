"""Postal addresses: by street words, unit and box numbers, postcodes, and words of place.

Sees: a number next to a street word of some twenty languages, suites, flats and boxes,
military mail, a postcode that is called one, and a number with a capitalised name where the
sentence says that an address follows ("meet me at 76 Dalmatinova"). From such an anchor it
takes the words around that look like parts of the same address.
Cannot see: towns and countries alone, addresses without a number, other scripts' forms.
A public address (a shop's) looks the same as a private one, and is found too.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence

from tidegate.gates.signals.linear_regex import Regex
from tidegate.gates.signals.text import Finding, as_ascii


def _words(words: str) -> str:
    """Alternatives, in the one-byte form in which the text is searched."""
    return as_ascii("|".join(words.split())).decode()


_SUFFIXES = (
    "street str st road rd avenue ave av boulevard blvd lane ln drive dr court ct place pl "
    "square sq terrace parkway pkwy highway hwy circle crescent way alley trail turnpike mall "
    "loop plaza walk close grove row mews gardens quay embankment passage kingsway interstate "
    "freeway expressway broadway ridge heights strasse straße gasse weg platz allee ufer damm "
    "straat laan plein gracht kade singel gade vej gata gatan vägen veien vegen gate katu tie "
    "utca út útja tér körút utcája ulica via viale vicolo piazza corso rua avenida calle "
    "carrera rue chaussée ulitsa cesta ulice náměstí třída průhon nábřeží odos cours impasse "
    "chemin quai largo travessa paseo sokak sokağı cadde caddesi bulvarı nagar marg chowk salai"
)
_SUFFIX = _words(_SUFFIXES)
_IS_SUFFIX = frozenset(_SUFFIX.encode().split(b"|"))
# Endings that make one word with the street's name, as in Pachergasse or Tawastintie.
_ENDINGS = tuple(
    _words(
        "strasse straße gasse platz allee straat laan gade vej gata gatan vägen veien vegen "
        "katu tie ring pad steeg haugen bakken svingen kroken torget bulevardi stræde straede stræti straeti utca polku stigen gränd braut kuja baan weg "
        "gracht kade singel dreef plein stieg brücke damm ufer graben markt str"
    )
    .encode()
    .split(b"|")
)
_NOTHING_ELSE = frozenset(
    _words("strasse straße utca útja gatan vägen katu").encode().split(b"|")
)
_PREFIXES = (
    "via viale vicolo piazza piazzale corso largo strada contrada borgo rotonda rua avenida av "
    "calle carrer paseo plaza camino acceso glorieta ronda pasaje callejón privada retorno "
    "andador circuito alameda rodovia vereda ladeira condomínio nám náměstí "
    "carretera camino travessa praça praca estrada rue bd boulevard allée impasse chemin quai "
    "cours ul ulica u al aleja aleje os osiedle rruga strada calea bulevardul ulitsa jalan "
    "jln λεωφόρος Λεωφόρος οδός"
)
_PREFIX = _words(_PREFIXES)
_NAME = r"[A-Z][\w'.?-]{0,30}"
_LINKS = (
    "de dei del degli delle della el los las al di da do dos das des du la le van von der den "
    "af of the y e"
)
_LINK = f"(?:{_words(_LINKS)})"
_HOUSE = r"#?(?:\d{1,4}[-/])?\d{1,6}[A-Za-z]?"

_UNIT = Regex(
    r"\b(?:suite|ste\.?|apt\.?|apartment|unit|flat|p\.? ?o\.? ?box|psc|box|blk\.?|block|plot"
    r"|postfach|apartado|boite postale|bp|caixa postal|casella postale|postbus|postboks)"
    r"[ \t]{0,2}#?[ \t]{0,2}\d{1,6}[A-Za-z]?\b",
    ignore_case=True,
)
_MILITARY = Regex(
    r"\b(?:(?:USNV|USNS|USS|USCGC) \w{2,20}\s{1,3})?[ADF]PO,? A[AEP] \d{5}\b", ignore_case=True
)
_NUMBER_STREET = Regex(
    rf"\b{_HOUSE},?[ \t]{{1,2}}"
    rf"(?:(?:{_NAME}|{_LINK}|\d{{1,4}}(?:st|nd|rd|th)?)[ \t]{{1,2}}){{1,5}}"
    rf"(?i:{_SUFFIX})\b"
)
# The other suffixes of the US Postal Service (Publication 28, C1) are everyday words.
_USPS = (
    "Inlet|Forts?|Fords?|Plains|Rapids?|Stream|Mills?|Shoals?|Shores?|Knolls?|Springs?|Hills?"
    "|Bypass|Branch|Brooks?|Burgs?|Camp|Cape|Causeway|Common|Cove|Creek|Crest|Crossing|Cliffs?"
    "|Dale|Dam|Divide|Estates?|Falls|Ferry|Fields?|Flats?|Forges?|Forks?|Garden|Gateway|Glens?"
    "|Greens?|Groves|Harbors?|Haven|Hollow|Islands?|Isle|Junctions?|Keys?|Lakes?|Landing|Light"
    "|Locks?|Lodge|Manors?|Meadows?|Mission|Motorway|Mountains?|Neck|Orchard|Oval|Overpass|Parks?"
    "|Path|Pike|Pines?|Plain|Point|Ports?|Prairie|Radial|Ranch|River|Rise|Skyway|Spurs?"
    "|Station|Summit|Throughway|Trace|Track|Trafficway|Tunnel|Underpass|Unions?|Valleys?"
    "|Viaduct|Views?|Villages?|Ville|Vista|Walks|Wells?|Arcade|Esplanade|Courts|Lees|Ganj|Zila"
    "|Nagar|Chowk|Marg"
)
_NUMBER_USPS = Regex(
    rf"(?:^|[^.\d$#/-])\b(\d{{1,5}}[A-Za-z]?,? (?:{_NAME} ){{1,2}}(?:{_USPS}))\b"
)
_YEAR = re.compile(rb"(?:1[5-9]|20)\d\d\b")
# A headline counts what it names: Top 10 River Walks.
_RANKED = re.compile(rb"\b(?:top|best|first|last|next|these|those|all) $", re.IGNORECASE)
# Without capitals only the plainest of words, and nothing that is counted before them.
_LOWER_STREET = Regex(
    r"\b(\d{1,5}[a-z]?) ((?:[a-z]{3,20} ){1,2})(?:street|road|avenue|boulevard|lane|drive"
    r"|ave|blvd|rd|crescent|terrace|parkway|highway)\b"
)
_COUNTED = re.compile(
    rb"\b(?:minutes?|hours?|miles?|km|years?|days?|lanes?|ways?|times|feet|meters?|metres?|yards?|"
    rb"different|other|major|main|busy|new|of|the|and|for|from|per|star|mile|hour|minute|day|"
    rb"long|short|more|small|big|test|hard|disk|lane)\b"
)
# Postcodes whose form says what they are, or with the region or town that goes with them.
_STATE = (
    "A[LKZR]|C[AOT]|D[CE]|FL|GA|HI|I[DLNA]|K[SY]|LA|M[EDAINSOT]|N[EVHJMYCD]|O[HKR]|PA|RI|S[CD]"
    "|T[NX]|UT|V[TA]|W[AVIY]|P[RW]|NSW|VIC|QLD|TAS|ACT"
)
_FORMED_POSTCODE = Regex(
    r"\b(?:GIR 0AA|[A-PR-UWYZ](?:\d{1,2}|[A-HK-Y]\d{1,2}|\d[A-HJKPSTUW]|[A-HK-Y]\d[ABEHMNPRVWXY])"
    r" \d[ABD-HJLNP-UW-Z]{2}"
    r"|[ABCEGHJ-NPRSTVXY]\d[ABCEGHJ-NPRSTV-Z] \d[ABCEGHJ-NPRSTV-Z]\d"
    rf"|[A-Z][a-z]{{2,20}},? (?:{_STATE}),? \d{{4,5}}(?:-\d{{4}})?"
    r"|\d{5}-\d{3},? [A-Z][a-z]{2,20}|[A-Z]\w{2,20},? \d{4}-\d{3}"
    r"|[A-Z]\w{2,20},? \d{2}-\d{3}|\d{2}-\d{3} [A-Z][a-z]\w{1,20}"
    r"|(?:AB|BC|MB|N[BLSTU]|ON|PE|QC|SK|YT) [A-Z]\d[A-Z] ?\d[A-Z]\d"
    r"|\d{4} ?(?:[A-RT-Z][A-Z]|S[BCE-RT-Z]),? [A-Z][a-z]{2,20})\b"
)
_BETWEEN = Regex(rf"\b\d{{3,6}}[ \t](?:{_NAME}[ \t]){{1,3}}\d{{1,4}}[A-Za-z]?\b")
_ARITHMETIC = (b"%", b":", b"*", b"/", b"&", b".", b"-")  # a score or a sum, no address
_BEFORE_NUMBER = Regex(
    rf"\b(?:({_NAME})[ \t])?([A-Za-z]\w{{1,39}})\.?,?[ \t]{{1,2}}\d{{1,5}}[A-Za-z]?\b"
)
_JOINED = re.compile(rb"[\w'-]{1,59}-$")
_PREFIXED = Regex(
    rf"\b(?i:{_PREFIX})\b\.?[ \t]{{1,2}}(?:(?:{_NAME}|{_LINK})[ \t,]{{1,2}}){{1,5}}\d{{1,5}}\b"
    rf"|\b\d{{1,6}},?[ \t]{{1,2}}(?i:{_PREFIX})\b\.?[ \t]{{1,2}}(?:{_LINK}[ \t]){{0,3}}{_NAME}"
    rf"|\b\w[\w']{{1,25}}[ \t](?:utca|u\.|{_words('tér')}|str\.)[ \t]{{1,2}}\d{{1,4}}\b"
)
_POSTCODE = Regex(
    r"\b(?:zip(?:[ -]?code)?|post(?:al)?[ -]?code|postcode|plz|cap|cp)\b(?:[ \t](?:is|number|code))?[ \t:=#]{1,4}"
    r"([A-Za-z]{0,2}-?\d[A-Za-z0-9]{1,8}(?:[ -][0-9A-Z]{1,4})?)\b",
    ignore_case=True,
)
# "Lindenallee 14a, 50968 Town": a name, a number, and a postcode with its town.
_WITH_TOWN = Regex(
    rf"\b(?:{_NAME}[ \t]){{1,4}}\d{{1,4}} ?[A-Za-z]?,[ \t]{{1,2}}(?:[A-Z]{{1,2}}-)?"
    rf"(?:\d{{5}}|\d{{3}} \d{{2}}|[13-9]\d{{3}}|2[1-9]\d\d)[ \t]{{1,2}}[A-Z]\w{{2,20}}"
)
# Words after which a number with a name is a place.
_CUE = Regex(
    r"\b(?:address(?:es)?(?: (?:of|for) [^\n:]{1,40}?)?"
    r"(?: is| are| was| to| with|, here they are| to the same)?:?"
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
    rf"(?:\d{{1,6}} (?:\w{{2,25}} ){{1,3}}\d{{1,5}}\b|"
    rf"(?:{_HOUSE},?[ \t]{{1,2}}(?:\d{{1,4}} )?(?:{_NAME}|\w{{3,25}} \d{{1,5}}\b)"
    rf"|(?:(?:{_NAME}|{_LINK}),?[ \t]{{1,2}}){{1,5}}#?\d{{1,6}}\b))".encode(),
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


def find(text: bytes, others: Sequence[Finding] = ()) -> Iterator[Finding]:
    """Postal addresses in an ASCII text (see text.as_ascii).

    others: what was found already, in order and without overlaps; no address reaches into it.
    """
    for match in _POSTCODE.finditer(text):
        yield Finding("address", match.start(1), match.end(1))
    reached = 0
    for start, end in sorted(_anchors(text)):
        if end <= reached:
            continue
        before, after = _room(others, start, end, len(text))
        start = max(reached, before, _left(text, start))
        end = _without_tail(text, min(after, _right(text, end)))
        reached = end
        yield Finding("address", start, end)


def _room(others: Sequence[Finding], start: int, end: int, whole: int) -> tuple[int, int]:
    """Where the last other finding before an anchor ends, and the next one begins."""
    i = bisect_right(others, start, key=lambda f: f.start)
    before = others[i - 1].end if i and others[i - 1].end <= start else 0
    j = bisect_left(others, end, key=lambda f: f.start)
    return before, others[j].start if j < len(others) else whole


def _anchors(text: bytes) -> Iterator[tuple[int, int]]:
    for pattern in (_UNIT, _MILITARY, _NUMBER_STREET, _PREFIXED, _FORMED_POSTCODE):
        for match in pattern.finditer(text):
            yield match.span()
    for match in _WITH_TOWN.finditer(text):
        if not _NOT_A_STREET.search(match.group()):
            yield match.span()
    for match in _NUMBER_USPS.finditer(text):
        start = match.start(1)
        ranked = _RANKED.search(text[max(0, start - 8) : start])
        if ranked or _YEAR.match(match.group(1)) or _NOT_A_STREET.search(match.group(1)):
            continue
        yield match.span(1)
    for match in _LOWER_STREET.finditer(text):
        if not _COUNTED.search(match.group(2)):
            yield match.span()
    for match in _BETWEEN.finditer(text):
        goes_on = text[match.end() : match.end() + 2].lstrip().startswith(_ARITHMETIC)
        if not goes_on and not _NOT_A_STREET.search(match.group()):
            yield match.span()
    for match in _BEFORE_NUMBER.finditer(text):
        word = match.group(2).lower()
        if (
            (word in _IS_SUFFIX and match.group(1))
            or (word in _IS_SUFFIX and text[match.start(2) - 1 : match.start(2)] == b"-")
            or word in _NOTHING_ELSE
            or (word.endswith(_ENDINGS) and len(word) > 5 and match.group(2)[:1].isupper())
        ):
            # From the beginning of Carina-Gerlach-Allee.
            joined = _JOINED.search(text[max(0, match.start() - 60) : match.start()])
            yield match.start() - (len(joined.group()) if joined else 0), match.end()
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
    return end


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
