"""What of an answer can be held against another answer: its numbers, dates, names, and its no.

A key token is a kind, a unit and a value. Only values of one unit are comparable: 90 days and
3 months may be the same time, 3 months and 4 months are not. Numbers may be written in words up
to twelve (English, German), times with am and pm, dates as 2026-05-03, 3.5.2026, 3 May or
May 3. A name is a capitalised word within a sentence, or one of letters and digits.
Cannot see: values in other words ("a fortnight"), names in small letters or at the beginning of
a sentence only; names where more than three in ten words are capitalised, as in German: there
is no telling them from nouns. Whatever comes after LONGEST characters.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import NamedTuple

LONGEST = 4000  # characters of a question and of an answer
NUMBER, DATE, NAME, NEGATION = range(4)  # kinds; NEGATION is told of a pair of answers
KINDS = ("number", "date", "name", "negation")
CAPITALISED = 0.3  # share of the words within sentences from which capitals say nothing
_HOLDING = """
a an the this that these those it its is are was were be been being am do does did done has
have had having can could will would shall should may might must of in on at to for from by
with about as into onto off up out over under than then there here and or but if so because
while i me my mine we us our ours you your yours he him his she her hers they them their
what which who whom whose when where why how please tell know say just also too very really
still now any some all each every one s t re ve ll d m ok okay hi hello hey thanks thank
get got let want like need yes
der die das den dem des ein eine einen einem einer eines es ist sind war waren sein hat
haben hatte kann können wird werden soll sollte darf muss von im am an zu zum zur für aus
bei mit auf über als und oder aber wenn weil ich mich mir mein meine wir uns unser du dein
sie ihr ihre er ihm was welche welcher welches wer wen wem wann wo warum wie bitte auch
noch nur schon sehr man denn so ja
le la les un une des du de et ou est sont au aux en pour par sur avec que qui quoi quel
quelle quand comment je tu il elle nous vous ils mon ma mes votre el los las una y o es son
del al por para con qué quién cuál cuándo dónde cómo mi su se
"""  # English, German, French, Spanish
COMMON = frozenset(_HOLDING.split())
_MONTHS = {
    name: str(number)
    for number, names in enumerate(
        (
            "january jan januar", "february feb februar", "march mar märz", "april apr",
            "may mai", "june jun juni", "july jul juli", "august aug",
            "september sep sept", "october oct oktober", "november nov",
            "december dec dezember",
        ),
        1,
    )
    for name in names.split()
}  # fmt: skip
_DAYS = {
    name: str(number)
    for number, names in enumerate(
        (
            "monday montag", "tuesday dienstag", "wednesday mittwoch", "thursday donnerstag",
            "friday freitag", "saturday samstag", "sunday sonntag",
        )
    )
    for name in names.split()
}  # fmt: skip
_WORDED = {
    word: str(value)
    for value, names in enumerate(
        (
            "two zwei", "three drei", "four vier", "five fünf", "six sechs", "seven sieben",
            "eight acht", "nine neun", "ten zehn", "eleven elf", "twelve zwölf",
        ),
        2,
    )
    for word in names.split()
}  # fmt: skip
_MONTH = "|".join(sorted(_MONTHS, key=len, reverse=True))
_ISO = re.compile(r"\b(?P<y>\d{4})-(?P<m>\d{1,2})-(?P<d>\d{1,2})\b")
_DOTTED = re.compile(r"\b(?P<d>\d{1,2})\.\s?(?P<m>\d{1,2})\.(?P<y>\d{4})\b")
_DAY_MONTH = re.compile(
    rf"\b(?P<d>\d{{1,2}})(?:st|nd|rd|th|\.)?(?: of)? (?P<m>{_MONTH})\b\.?(?:,? (?P<y>\d{{4}})\b)?",
    re.IGNORECASE,
)
_MONTH_DAY = re.compile(
    rf"\b(?P<m>{_MONTH})\.? (?P<d>\d{{1,2}})(?:st|nd|rd|th)?\b(?:,? (?P<y>\d{{4}})\b)?",
    re.IGNORECASE,
)
_MONTH_YEAR = re.compile(rf"\b(?P<m>{_MONTH})\.? (?P<y>\d{{4}})\b", re.IGNORECASE)
_CLOCK = re.compile(
    r"\b(?P<h>\d{1,2})(?:[:.h](?P<min>\d{2}))?\s?(?P<half>[ap])\.?m\b"
    r"|\b(?P<h24>\d{1,2}):(?P<min24>\d{2})\b|\b(?P<uhr>\d{1,2}) uhr\b",
    re.IGNORECASE,
)
_YEAR = re.compile(r"\b(?:1[89]|20)\d{2}\b(?![.,]\d)(?!\s?[%€$£°])")
_WEEKDAY = re.compile(rf"\b({'|'.join(_DAYS)})s?\b", re.IGNORECASE)
_NUMBER = re.compile(
    r"(?P<before>[€$£])?\s?(?<![\w.,])(?P<value>\d+(?:[.,]\d+)*)\s?(?P<after>[%€$£°]|[^\W\d_]+)?"
)
_HALF = re.compile(r"(\d+) and a half\b")
_SPELLED = re.compile(rf"\b({'|'.join(_WORDED)})\b", re.IGNORECASE)
_MADE = re.compile(r"\b(?=\w*[-.]?\d)(?=\w*[^\W\d_])[^\W_]+(?:[-.][^\W_]+)*\b")
WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
_SENTENCE = re.compile(r"(?<=[.!?。！？:])\s+|\n+")
_LEADS = re.compile(
    r"\W*(?:(?P<yes>yes|yeah|yep|certainly|of course|sure|ja|oui|sí|si|sim|klar)"
    r"|(?P<no>no|nope|nein|non|não|nee))\b(?! problem| worries| need)",
    re.IGNORECASE,
)
_NOT = re.compile(
    r"\b(?:not|no|never|none|nothing|neither|nor|cannot|without|nicht|kein\w*|nie|niemals|ohne"
    r"|pas|jamais|nunca|jamás|não|niet|geen|mai)\b|n['’]t\b",
    re.IGNORECASE,
)
_CURRENCY = {"euro": "€", "eur": "€", "dollar": "$", "usd": "$", "pound": "£", "percent": "%"}
_NO_UNIT = COMMON | {"und", "oder", "bis", "um", "per", "until"}


class Token(NamedTuple):
    kind: int
    unit: str
    value: str


Read = Callable[[re.Match[str]], Iterator[Token]]


def plain(text: str) -> str:
    """The text as it is read here: composed, and cut."""
    return unicodedata.normalize("NFKC", text[:LONGEST]).replace("’", "'")


def key_tokens(text: str, but: frozenset[str] = frozenset()) -> frozenset[Token]:
    """The key tokens of a plain text. but: words in small letters that are no news as names."""
    found: set[Token] = set()
    rest = text
    for pattern, read in (
        (_ISO, _date), (_DOTTED, _date), (_DAY_MONTH, _date), (_MONTH_DAY, _date),
        (_MONTH_YEAR, _date), (_CLOCK, _clock),
    ):  # fmt: skip
        rest = _taken(rest, pattern, read, found)
    found.update(Token(DATE, "weekday", _DAYS[m[1].lower()]) for m in _WEEKDAY.finditer(rest))
    for made in _MADE.finditer(rest):
        if not re.fullmatch(
            r"\d+(?:st|nd|rd|th|h|x|cm|mm|km|m|kg|g|l|ml|kw|w|v)?", made[0], re.IGNORECASE
        ):
            if made[0].lower() not in but:
                found.add(Token(NAME, "", made[0].lower()))
            rest = rest.replace(made[0], " ")
    found.update(Token(DATE, "year", m[0]) for m in _YEAR.finditer(rest))
    found.update(_numbers(_YEAR.sub(" ", rest)))
    found.update(Token(NAME, "", name) for name in names(rest) if name not in but)
    return frozenset(found)


def leads(text: str) -> int:
    """Of a plain text. 1: the answer begins with a yes, -1: with a no, 0: with neither."""
    found = _LEADS.match(text)
    return 0 if found is None else 1 if found["yes"] else -1


def is_negated(text: str) -> bool:
    return _NOT.search(text) is not None


def words(text: str) -> frozenset[str]:
    """The words of a plain text in small letters, without endings of English inflection;
    without numbers, and without those that only hold a sentence together or negate it."""
    said = (word.split("'")[0] for word in WORD.findall(_NOT.sub(" ", text.lower())))
    return frozenset(
        stem(word)
        for word in said
        if not (word.isdecimal() or word in COMMON or word in _WORDED)
    )


def stem(word: str) -> str:
    """A word in small letters without its English ending."""
    if len(word) > 3 and word.endswith("s") and not word.endswith("ss"):
        word = word.removesuffix("s")
    for ending in ("ing", "ed", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            return word.removesuffix(ending)
    return word


def _taken(text: str, pattern: re.Pattern[str], read: Read, found: set[Token]) -> str:
    """The text without what the pattern matches, which is added to `found`."""

    def take(match: re.Match[str]) -> str:
        found.update(read(match))
        return " "

    return pattern.sub(take, text)


def _date(match: re.Match[str]) -> Iterator[Token]:
    said = match.groupdict()
    month = _MONTHS.get(said["m"].lower(), said["m"].lstrip("0"))
    day = said.get("d")
    if day is not None:
        yield Token(DATE, "day", f"{month}-{day.lstrip('0')}")
    else:
        yield Token(DATE, "month", month)
    if said.get("y"):
        yield Token(DATE, "year", said["y"])


def _clock(match: re.Match[str]) -> Iterator[Token]:
    if match["half"]:
        later = 12 if match["half"].lower() == "p" else 0
        yield Token(DATE, "time", f"{int(match['h']) % 12 + later}:{match['min'] or '00'}")
    else:
        hour, minute = match["h24"] or match["uhr"], match["min24"] or "00"
        yield Token(DATE, "time", f"{int(hour)}:{minute}")


def _numbers(text: str) -> Iterator[Token]:
    text = _SPELLED.sub(lambda m: _WORDED[m[1].lower()], text)
    text = _HALF.sub(r"\1.5", text)
    for match in _NUMBER.finditer(text):
        unit = match["before"] or (match["after"] or "").lower()
        unit = stem(unit) if unit not in _NO_UNIT else ""
        yield Token(NUMBER, _CURRENCY.get(unit, unit), _value(match["value"]))


def _value(said: str) -> str:
    """1,000 and 1.000 are a thousand, 3,5 and 3.5 are three and a half."""
    whole = re.fullmatch(r"\d{1,3}(?:[.,]\d{3})+", said)
    number = re.sub(r"[.,]", "", said) if whole else said.replace(",", ".")
    number = number.lstrip("0") or "0"
    return number.rstrip("0").rstrip(".") if number.count(".") == 1 else number


def names(text: str) -> frozenset[str]:
    """The capitalised words within sentences, in small letters; none if too many are."""
    inside: list[str] = []
    for sentence in _SENTENCE.split(text):
        inside.extend(WORD.findall(sentence)[1:])
    inside = [word.split("'")[0] for word in inside]
    capital = [word for word in inside if word[0].isupper() and len(word) > 1]
    if len(capital) > max(2, CAPITALISED * len(inside)):
        return frozenset()
    return frozenset(
        word
        for word in (name.lower() for name in capital)
        if word not in _MONTHS and word.removesuffix("s") not in _DAYS and word not in COMMON
    )
