"""Structured personal data: what has a form that can be recognised, and often a checksum.

Sees: e-mail addresses, telephone numbers (phones.py), payment cards (Luhn), IBANs (mod 97),
public IP addresses, US social security numbers, crypto wallets (wallets.py), ids of some
thirty countries (national_ids.py), numbers that the text itself calls a licence, a passport,
an account or a tax id (called_ids.py), dates of birth (birth_dates.py), numbers of devices
(devices.py), coordinates (coordinates.py), and postal addresses (addresses.py).
Cannot see: names, anything spelled out in words, ids of other countries.
"""

import ipaddress
import re
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidegate.gates.signals import (
    addresses,
    birth_dates,
    called_ids,
    coordinates,
    devices,
    national_ids,
    phones,
    surrogates,
    wallets,
)
from tidegate.gates.signals.linear_regex import Regex
from tidegate.gates.signals.national_ids import digits_of, luhn
from tidegate.gates.signals.text import Finding, as_ascii, without_overlaps

KINDS = (
    "email", "phone", "card", "iban", "ip", "ssn", "wallet", "id_number", "address",
    "birth_date", "device", "coordinates",
)  # fmt: skip
# Countries whose numbering of telephones and ids is known: the locale packs.
LOCALES = (
    "us", "gb", "ca", "ie", "au", "nz", "in", "sg", "za", "de", "at", "ch", "fr", "be", "nl",
    "es", "pt", "br", "mx", "it", "se", "no", "dk", "fi", "pl", "cz", "hu", "ro", "gr", "tr",
    "il", "ae", "jp", "kr", "cn",
)  # fmt: skip
EVERYWHERE = frozenset(LOCALES)
COLUMNS = {kind: f"pii_{kind}" for kind in KINDS}

# A text without one of these holds nothing that a finder below could find.
_SUSPECT = r"[@\p{Nd}]|(?i:dot)"

_EMAIL = Regex(
    r"[A-Za-z0-9][A-Za-z0-9._%+'&/=-]{0,63}(?:@|%40)"
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,6}"
    r"[A-Za-z][A-Za-z0-9-]{0,22}[A-Za-z]"
)
# Written so that programs do not see it: ann (at) example (dot) org. One of the two signs at
# least must be in disguise, or the name must be more than a word: look at example.org.
_AT = r"(?: ?[\[({<_-] ?(?:at|@) ?[\])}>_-] ?| @ ?|@ |&#64;|&commat;)"
_DOT = r"(?: ?[\[({<_-] ?(?:dot|\.) ?[\])}>_-] ?| dot | \. )"
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_SPELLED = Regex(
    r"\b[a-z0-9](?:[a-z0-9._%+]|-[a-z0-9]){0,63}"
    rf"(?:{_AT}{_LABEL}(?:(?:{_DOT}|\.){_LABEL}){{1,4}}"
    rf"|(?:@| at ){_LABEL}(?:(?:{_DOT}|\.){_LABEL}){{0,4}}{_DOT}[a-z]{{2,24}})\b"
    rf"|\b[a-z0-9]+(?:[._+][a-z0-9]+|[0-9][a-z0-9]*)+ at (?:{_LABEL}\.){{1,4}}[a-z]{{2,24}}\b"
    rf"|\b[a-z0-9._%+-]{{1,64}} (?:arobase|arroba) {_LABEL}(?: (?:point|punto) {_LABEL}){{1,4}}\b"
    r'|"[^"@\n]{1,64}"@[a-z0-9.-]{4,100}|\b[a-z0-9._%+-]{1,64}@\[[0-9a-f.:]{7,45}\]',
    ignore_case=True,
)
# Behind a word for mail the name may be any: my email is ann at example.org.
_MAILED = Regex(
    r"\b(?:e-?mail|mail|courriel|correo|login)\w{0,6}\b\W{0,3}(?:is |me |us |to |at |adress |address ){0,2}"
    rf"([a-z0-9._%+-]{{2,64}} at (?:{_LABEL}\.){{1,4}}[a-z]{{2,24}})\b",
    ignore_case=True,
)
_SAYS_AT = re.compile(rb"\bat\b|&#64;|&commat;|[_-]at[_-]|arobase|arroba", re.IGNORECASE)
# Between the digits of a card: nothing, blanks, a sign, or a sign among blanks.
_CARD = Regex(r"\d(?:[ \t\n]{0,3}[-./_,:*]?[ \t]{0,3}\d){11,200}")
_CARD_GROUPS = re.compile(rb"\d+")
_CARD_CUE = re.compile(
    rb"card|\bcc\b|credit|debit|visa|master|amex|kredit|karte|carte|tarjeta|carta|cartzo|kaart",
    re.IGNORECASE,
)
_NOT_A_CARD = re.compile(rb"\b(?:ean|upc|gtin|isbn|barcode|tracking|sku)\b", re.IGNORECASE)
_IIN = re.compile(
    rb"4\d{12}(?:\d{3}){0,2}$|5[1-5]\d{14}$|2[2-7]\d{14}$|3[47]\d{13}$"
    rb"|3(?:0[0-5]|[689]\d)\d{11}$|6(?:011|4[4-9]|5|2)\d{11,16}$|35\d{14}$|(?:2131|1800)\d{11}$|220[0-4]\d{12,15}$|9792\d{12}$|8[12]\d{14,17}$|(?:5[06-8]|6\d)\d{10,17}$"
)
_IBAN = Regex(r"\b[A-Z]{2} ?\d[ -]?\d(?:[-./ \t]?[A-Z0-9]){11,30}", ignore_case=True)
_IBAN_CUE = re.compile(rb"\biban\b", re.IGNORECASE)
# Also defanged, as reports of attacks write it: 203[.]0[.]113[.]7.
_IPV4 = Regex(r"\b\d{1,3}(?:(?:\.|\[\.\]|\(\.\)|\[dot\])\d{1,3}){3}\b")
_IPV6 = Regex(r"[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}")
# This host, private networks, link-local, multicast and reserved addresses (RFC 6890).
_NOBODY = [
    ipaddress.ip_network(net)
    for net in (
        "0.0.0.0/8", "10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
        "192.168.0.0/16", "224.0.0.0/3", "::/16", "fc00::/7", "fe80::/10", "ff00::/8",
    )
]  # fmt: skip
_VERSION = re.compile(rb"(?:version|release|\bv|firmware|build)[ .:]{0,2}$", re.IGNORECASE)
_SSN = Regex(r"\b(\d{3})[- ](\d{2})[- ](\d{4})\b")
_BARE_SSN = Regex(
    r"\b(?:ssn?|social(?: security)?(?: (?:number|no|num))?)\b[^\d\n]{0,20}"
    r"(\d{9}|\d{3}[-./ ]\d{2}[-./ ]\d{4}|\d{4})\b",
    ignore_case=True,
)
_LAST_FOUR = re.compile(rb"last (?:4|four)|end", re.IGNORECASE)
# Lengths from the IBAN registry (SWIFT, ISO 13616).
_IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22,
    "BR": 29, "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "DO": 28,
    "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23,
    "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26,
    "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20,
    "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MR": 27, "MT": 31, "MU": 30,
    "NL": 18, "NO": 15, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22,
    "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "ST": 25, "SV": 28,
    "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
}  # fmt: skip


def measure(text: pa.Array, locales: frozenset[str] = EVERYWHERE) -> dict[str, np.ndarray]:
    """For each record, how many findings of each kind."""
    counts = {name: np.zeros(len(text), dtype=np.float32) for name in COLUMNS.values()}
    suspects = pc.match_substring_regex(text, _SUSPECT).to_numpy(zero_copy_only=False)
    for i in np.flatnonzero(suspects):
        for kind, count in Counter(f.kind for f in find(text[i].as_py(), locales)).items():
            counts[COLUMNS[kind]][i] = count
    return counts


def find(text: str, locales: frozenset[str] = EVERYWHERE) -> list[Finding]:
    """Personal data in a text: sorted, without overlaps. Stand-ins (surrogates.py) are none.

    locales: countries whose telephone numbers and ids are looked for by form alone.
    """
    ascii_text = surrogates.blanked(as_ascii(text))
    found = [*_emails(ascii_text), *_cards(ascii_text), *_ibans(ascii_text)]
    found += [*_ips(ascii_text), *_ssns(ascii_text), *wallets.find(ascii_text)]
    found += [*called_ids.find(ascii_text), *national_ids.find(ascii_text, locales)]
    for kind in (birth_dates, devices, coordinates):
        found += kind.find(ascii_text)
    found += phones.find(ascii_text, locales)
    apart = without_overlaps(found)
    # Last: an address ends where something else begins.
    return without_overlaps([*apart, *addresses.find(ascii_text, apart)])


def _emails(text: bytes) -> Iterator[Finding]:
    if b"@" in text or b"%40" in text:
        for match in _EMAIL.finditer(text):
            if not match.group().startswith(b"git@"):  # everybody's user of a code host
                yield Finding("email", match.start(), match.end())
    elif not _SAYS_AT.search(text):
        return
    for match in _SPELLED.finditer(text):
        yield Finding("email", match.start(), match.end())
    for match in _MAILED.finditer(text):
        yield Finding("email", match.start(1), match.end(1))


def _cards(text: bytes) -> Iterator[Finding]:
    for match in _CARD.finditer(text):
        start, end = match.span()
        cued = bool(_CARD_CUE.search(text[max(0, start - 40) : start]))
        cued |= text[end : end + 1] == b"^"  # as a magnetic stripe has it
        touches = text[end : end + 1].isalnum() or text[start - 1 : start].isalnum()
        if touches and not cued:
            continue
        if not cued and _NOT_A_CARD.search(text[max(0, start - 40) : start]):
            continue
        groups = [g.span() for g in _CARD_GROUPS.finditer(match.group())]
        after = 0
        for first, last in _windows(groups, match.group()):
            raw = match.group()[groups[first][0] : groups[last][1]]
            if first >= after and _is_card(raw, cued):
                yield Finding("card", start + groups[first][0], start + groups[last][1])
                after = last + 1


def _windows(groups: list[tuple[int, int]], raw: bytes) -> Iterator[tuple[int, int]]:
    """First and last group of what may be one number: all of it, or one line, or without the
    short numbers beside it (an expiry date, a security code), if it is grouped like a card."""
    yield 0, len(groups) - 1
    line = 0
    for i in range(len(groups)):
        if i + 1 == len(groups) or b"\n" in raw[groups[i][1] : groups[i + 1][0]]:
            yield line, i
            line = i + 1
    for first in range(len(groups)):
        if groups[first][1] - groups[first][0] not in (4, 12, 13, 14, 15, 16):
            continue
        digits = 0
        for last in range(first, len(groups)):
            digits += groups[last][1] - groups[last][0]
            if digits > 19:
                break
            if digits >= 12:
                yield first, last


def _is_card(raw: bytes, cued: bool) -> bool:
    digits = digits_of(raw)
    if not _IIN.match(digits):
        return False
    if not luhn(digits):
        # A slip of the finger leaves it a card if the text calls it one.
        return cued and not re.search(rb"[^\d -]", raw)
    groups = [len(g) for g in _CARD_GROUPS.findall(raw)]
    if re.search(rb"[,:*]|\n.*\n", raw) and not cued:
        return False  # a list of numbers
    # Unusual signs only between groups like a card's.
    return not re.search(rb"[^\d -]", raw) or all(g >= 2 for g in groups[:-1])


def _ibans(text: bytes) -> Iterator[Finding]:
    for match in _IBAN.finditer(text):
        if not match.group()[:4].isalnum() and not match.group()[:2].isupper():
            continue  # "is 41 ..."
        raw = match.group().upper()
        length = _IBAN_LENGTHS.get(raw[:2].decode())
        if length is None:
            continue
        positions = [i for i, c in enumerate(raw) if c not in b"-./ \t\n"][:length]
        compact = bytes(raw[i] for i in positions)
        if len(compact) < length:
            continue
        # A slip of the finger leaves it one if the text calls it one.
        cued = _IBAN_CUE.search(text[max(0, match.start() - 24) : match.start()])
        if surrogates.mod97(compact) == 1 or cued:
            yield Finding("iban", match.start(), match.start() + positions[-1] + 1)


def _ips(text: bytes) -> Iterator[Finding]:
    for match in _IPV4.finditer(text):
        after = text[match.end() : match.end() + 2]
        longer = after[:1] == b"." and after[1:].isdigit()
        if longer or _VERSION.search(text[max(0, match.start() - 12) : match.start()]):
            continue
        if _is_public(".".join(re.findall(r"\d+", match.group().decode()))):
            yield Finding("ip", match.start(), match.end())
    if b":" in text:
        for match in _IPV6.finditer(text):
            if len(match.group()) >= 6 and _is_public(match.group().decode()):
                yield Finding("ip", match.start(), match.end())


def _is_public(address: str) -> bool:
    """Whether somebody could be reached there. Ranges kept for documentation count too."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    return not any(ip in net for net in _NOBODY if net.version == ip.version)


def _ssns(text: bytes) -> Iterator[Finding]:
    for match in _SSN.finditer(text):
        area, group, serial = match.groups()
        if area not in (b"000", b"666") and group != b"00" and serial != b"0000":
            yield Finding("ssn", match.start(), match.end())
    for match in _BARE_SSN.finditer(text):
        near = text[max(0, match.start() - 24) : match.start(1)]
        if len(match.group(1)) > 4 or _LAST_FOUR.search(near):
            yield Finding("ssn", match.start(1), match.end(1))
