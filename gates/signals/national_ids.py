"""Ids that states give to people, by form and check digits, one pack a country.

Sees: forms that hardly anything else has. Where the form is only a run of digits, the
check digits and the date in it must agree. A number that the text itself calls an id is
found without a pack (personal_data.py).
Cannot see: ids of other countries, and plain runs of digits with weak checks (a Dutch BSN,
a German tax id, an Australian TFN) unless the text says what they are.
"""

import re
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any, NamedTuple

from tidegate.gates.signals.linear_regex import Regex
from tidegate.gates.signals.text import Finding

_DIGITS = b"0123456789"


def luhn(digits: bytes) -> bool:
    """The check of ISO/IEC 7812-1."""
    total = 0
    for i, digit in enumerate(reversed(digits)):
        value = digit - 48
        total += value if i % 2 == 0 else (2 * value - 9 if value > 4 else 2 * value)
    return total % 10 == 0


def digits_of(raw: bytes) -> bytes:
    return bytes(c for c in raw if c in _DIGITS)


def _weighted(raw: bytes, weights: tuple[int, ...]) -> int:
    return sum((c - 48) * w for c, w in zip(digits_of(raw), weights, strict=False))


def _is_date(month: bytes, day: bytes) -> bool:
    return 1 <= int(month) <= 12 and 1 <= int(day) <= 31


def _cpf(raw: bytes) -> bool:
    digits = digits_of(raw)
    first = _weighted(digits, tuple(range(10, 1, -1))) * 10 % 11 % 10
    second = _weighted(digits, tuple(range(11, 1, -1))) * 10 % 11 % 10
    return digits[9:] == f"{first}{second}".encode() and len(set(digits)) > 1


def _south_african(raw: bytes) -> bool:
    return _is_date(raw[2:4], raw[4:6]) and luhn(raw)


def _nir(raw: bytes) -> bool:
    """France: sex, year, month, place, number; the key is 97 - (the rest mod 97)."""
    compact = raw.replace(b" ", b"").upper()
    number = compact[:13].replace(b"2A", b"19").replace(b"2B", b"18")
    return number.isdigit() and 97 - int(number) % 97 == int(compact[13:])


def _belgian(raw: bytes) -> bool:
    digits = digits_of(raw)
    return any(97 - int(born + digits[:9]) % 97 == int(digits[9:]) for born in (b"", b"2"))


def _swedish(raw: bytes) -> bool:
    digits = digits_of(raw)[-10:]
    return _is_date(digits[2:4], digits[4:6]) and luhn(digits)


def _danish(raw: bytes) -> bool:
    return _is_date(raw[2:4], raw[:2])


def _norwegian(raw: bytes) -> bool:
    digits = digits_of(raw)
    first = _weighted(digits, (3, 7, 6, 1, 8, 9, 4, 5, 2, 1)) % 11
    second = _weighted(digits, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1)) % 11
    return _is_date(digits[2:4], digits[:2]) and first == second == 0


def _swiss(raw: bytes) -> bool:
    """EAN-13, as the AHV number has it."""
    return _weighted(raw, (1, 3) * 6 + (1,)) % 10 == 0


def _chinese(raw: bytes) -> bool:
    """GB 11643: ISO 7064 mod 11-2."""
    total = _weighted(raw[:17], (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2))
    right = b"10X98765432"[total % 11 : total % 11 + 1] == raw[17:].upper()
    return right and _is_date(raw[10:12], raw[12:14])


def _singapore(raw: bytes) -> bool:
    total = _weighted(raw[1:8], (2, 7, 6, 5, 4, 3, 2)) + {b"T": 4, b"G": 4}.get(raw[:1], 0)
    letters = b"JZIHGFEDCBA" if raw[:1] in (b"S", b"T") else b"XWUTRQPNMLK"
    return letters[total % 11] == raw[8]


def _turkish(raw: bytes) -> bool:
    n = [c - 48 for c in raw]
    tenth = (sum(n[0:9:2]) * 7 - sum(n[1:8:2])) % 10
    return tenth == n[9] and sum(n[:10]) % 10 == n[10]


def _polish(raw: bytes) -> bool:
    """PESEL of those born since 1900: months of this century have 20 added."""
    month = int(raw[2:4])
    right = _weighted(raw, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)) % 10 == 0
    return right and _is_date(b"%d" % (month - 20 if month > 20 else month), raw[4:6])


def _czech(raw: bytes) -> bool:
    month = int(raw[2:4]) % 50
    return _is_date(b"%d" % (month - 20 if month > 20 else month), raw[4:6]) and (
        int(digits_of(raw)) % 11 == 0
    )


def _romanian(raw: bytes) -> bool:
    """CNP: sex and century, date, county, number, check."""
    check = _weighted(raw[:12], (2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9)) % 11
    return _is_date(raw[3:5], raw[5:7]) and raw[12] - 48 == (1 if check == 10 else check)


def _irish(raw: bytes) -> bool:
    total = _weighted(raw[:7], (8, 7, 6, 5, 4, 3, 2))
    total += 9 * (raw[8] - 64) if len(raw) > 8 else 0
    return b"WABCDEFGHIJKLMNOPQRSTUV"[total % 23] == raw[7]


def _checked_by(name: str, raw: bytes) -> bool:
    """By the check of a recognizer of Presidio. Its `analyze` is not called: it compares
    all matches with each other, which a hostile text makes slow."""
    return bool(presidio(name).validate_result(raw.decode()))


@cache
def presidio(name: str) -> Any:
    """One of Presidio's recognizers, imported only when one is needed."""
    from presidio_analyzer import predefined_recognizers

    return getattr(predefined_recognizers, name)()


class Form(NamedTuple):
    pattern: Regex
    is_right: Callable[[bytes], bool]


def _any(raw: bytes) -> bool:
    return True


def _form(pattern: str, is_right: Callable[[bytes], bool] | str = _any) -> Form:
    if isinstance(is_right, str):
        is_right = partial(_checked_by, is_right)
    return Form(Regex(rf"\b(?:{pattern})\b"), is_right)


_DNI = _form(r"\d{7,8}-?[A-Z]", "EsNifRecognizer")
PACKS: dict[str, tuple[Form, ...]] = {
    "us": (
        _form(  # Medicare beneficiary
            r"[1-9][AC-HJKMNP-RT-Y][0-9AC-HJKMNP-RT-Y]\d-[AC-HJKMNP-RT-Y]"
            r"[0-9AC-HJKMNP-RT-Y]\d-[AC-HJKMNP-RT-Y]{2}\d{2}"
        ),
    ),
    "gb": (
        _form(r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z](?: ?\d{2}){3} ?[A-D]"),  # NINO
    ),
    "ie": (_form(r"\d{7}[A-W][A-I]?", _irish),),
    "in": (
        _form(r"[2-9]\d{3}[ -]\d{4}[ -]\d{4}", "InAadhaarRecognizer"),
        _form(r"[A-Z]{3}[ABCFGHLJPT][A-Z]\d{4}[A-Z]"),  # PAN
        _form(r"[0-3]\d[A-Z]{5}\d{4}[A-Z][1-9A-Z]Z[0-9A-Z]", "InGstinRecognizer"),
    ),
    "sg": (_form(r"[STFG]\d{7}[A-Z]", _singapore),),
    "za": (_form(r"\d{10}[01][89]\d", _south_african),),
    "ch": (_form(r"756\.\d{4}\.\d{4}\.\d{2}", _swiss),),
    "fr": (
        _form(
            r"[12] ?\d{2} ?(?:0[1-9]|1[0-2]|[2-9]\d) ?(?:\d{2}|2[AB]) ?\d{3} ?\d{3} ?\d{2}",
            _nir,
        ),
    ),
    "be": (_form(r"\d{2}\.[01]\d\.[0-3]\d[-.]\d{3}[-.]\d{2}", _belgian),),
    "es": (_DNI, _form(r"[XYZ]\d{7}-?[A-Z]", "EsNieRecognizer")),
    "br": (_form(r"\d{3}\.\d{3}\.\d{3}-\d{2}", _cpf),),
    "mx": (_form(r"[A-Z][AEIOUX][A-Z]{2}\d{2}[01]\d[0-3]\d[HMX][A-Z]{5}[A-Z0-9]\d"),),  # CURP
    "it": (_form(r"[A-Z]{6}\d{2}[A-EHLMPRST]\d{2}[A-Z]\d{3}[A-Z]", "ItFiscalCodeRecognizer"),),
    "se": (_form(r"(?:19|20)?\d{2}[01]\d[0-3]\d[-+]\d{4}", _swedish),),
    "no": (_form(r"[0-3]\d[01]\d{3} ?\d{5}", _norwegian),),
    "dk": (_form(r"[0-3]\d[01]\d{3}-\d{4}", _danish),),
    "fi": (_form(r"\d{6}[-+A-FU-Y]\d{3}[0-9A-Y]", "FiPersonalIdentityCodeRecognizer"),),
    "pl": (_form(r"\d{2}[0-3]\d[0-3]\d{6}", _polish),),
    "cz": (_form(r"\d{2}[0156789]\d[0-3]\d/\d{4}", _czech),),
    "ro": (_form(r"[1-9]\d{12}", _romanian),),
    "tr": (_form(r"[1-9]\d{10}", _turkish),),
    "kr": (_form(r"\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])-[1-4]\d{6}"),),  # RRN
    "cn": (_form(r"[1-9]\d{5}(?:19|20)\d{9}[\dX]", _chinese),),
}
_SUSPECT = Regex(r"\d{2}")
_FOUR = re.compile(rb" \d{4}\b")


def find(text: bytes, locales: frozenset[str]) -> Iterator[Finding]:
    """Ids of some countries in an ASCII text (see text.as_ascii)."""
    if not _SUSPECT.search(text):
        return
    for form in _forms(locales):
        for match in form.pattern.finditer(text):
            if form.is_right(match.group()) and not _goes_on(match.group(), text, match.end()):
                yield Finding("id_number", match.start(), match.end())


def _goes_on(raw: bytes, text: bytes, end: int) -> bool:
    """Whether it is the beginning of a longer number in groups of four."""
    return b" " in raw and _FOUR.match(text, end) is not None


@cache
def _forms(locales: frozenset[str]) -> tuple[Form, ...]:
    return tuple(form for name in sorted(locales & PACKS.keys()) for form in PACKS[name])
