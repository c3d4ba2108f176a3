"""Structured personal data: what has a form that can be recognised, and often a checksum.

Sees: e-mail addresses, telephone numbers, payment cards (Luhn), IBANs (mod 97), public IP
addresses, US social security numbers, crypto wallets, a few national ids with checksums
or letters (through Presidio), numbers that the text itself calls a licence or a passport,
and postal addresses (addresses.py).
Cannot see: names, dates of birth, anything spelled out in words, ids of other countries.
"""

import ipaddress
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidegate.gates.signals import addresses, phones
from tidegate.gates.signals.linear_regex import Regex
from tidegate.gates.signals.text import Finding, as_ascii, without_overlaps

KINDS = (
    "email", "phone", "card", "iban", "ip", "ssn", "wallet", "id_number", "address",
)  # fmt: skip
COLUMNS = {kind: f"pii_{kind}" for kind in KINDS}

# A text without one of these holds nothing that a finder below could find.
_SUSPECT = "[@0-9]"

_EMAIL = Regex(
    r"[A-Za-z0-9][A-Za-z0-9._%+'&/=-]{0,63}(?:@|%40)"
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,6}"
    r"[A-Za-z][A-Za-z0-9-]{0,22}[A-Za-z]"
)
_CARD = Regex(r"\d(?:[ -]{0,2}\d){11,18}")
_CARD_CUE = re.compile(rb"card|\bcc\b|credit|debit|visa|master|amex", re.IGNORECASE)
_IIN = re.compile(
    rb"4\d{12}(?:\d{3}){0,2}$|5[1-5]\d{14}$|2[2-7]\d{14}$|3[47]\d{13}$"
    rb"|3(?:0[0-5]|[689]\d)\d{11}$|6(?:011|4[4-9]|5|2)\d{11,16}$|35\d{14}$|(?:2131|1800)\d{11}$|(?:5[06-8]|6\d)\d{10,17}$"
)
_IBAN = Regex(r"\b[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]){11,30}", ignore_case=True)
_IPV4 = Regex(r"\b\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}\b")
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
    r"(?:\bssn|social security (?:number|no\.?|#))\D{0,20}(\d{9})\b", ignore_case=True
)
_ETHEREUM = Regex(r"\b0x[0-9a-fA-F]{40}\b")
_BASE58 = Regex(r"\b(?:bc1|[13])[a-zA-HJ-NP-Z0-9]{25,59}\b")
_MONERO_OR_TRON = Regex(r"\b(?:4[0-9AB][1-9A-HJ-NP-Za-km-z]{93}|T[1-9A-HJ-NP-Za-km-z]{33})\b")
_CALLED = Regex(
    r"(?:driv\w{0,5}(?:'s|s)? licen[cs]e|passport|national id|identity card|id card|tax id"
    r"|taxpayer id|social insurance|insurance|medical record|\bnhs|\bnino|\bitin|\bmrn)"
    r"(?: (?:number|no\.?|num|id))?(?: is| ?[:#=])? {0,2}#?"
    r"([A-Z]{0,3}[ -]?\d[A-Z0-9]*(?:[- ]\d[A-Z0-9]*){0,4})",
    ignore_case=True,
)
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
# Form by RE2, check letter by Presidio. Its own `analyze` is not called: it compares all
# matches with each other, which a hostile text makes slow, and ignores its timeouts.
_NATIONAL_IDS = {
    "EsNifRecognizer": Regex(r"\b\d{7,8}-?[A-Z]\b"),
    "EsNieRecognizer": Regex(r"\b[XYZ]\d{7}-?[A-Z]\b"),
    "FiPersonalIdentityCodeRecognizer": Regex(r"\b\d{6}[-+A-FU-Y]\d{3}[0-9A-Y]\b"),
    "ItFiscalCodeRecognizer": Regex(r"\b[A-Z]{6}\d{2}[A-EHLMPRST]\d{2}[A-Z]\d{3}[A-Z]\b"),
}
_NINO = Regex(r"\b[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z](?: ?\d{2}){3} ?[A-D]\b")


def measure(text: pa.Array) -> dict[str, np.ndarray]:
    """For each record, how many findings of each kind; NaN where a finder gave up."""
    counts = {name: np.zeros(len(text), dtype=np.float32) for name in COLUMNS.values()}
    suspects = pc.match_substring_regex(text, _SUSPECT).to_numpy(zero_copy_only=False)
    for i in np.flatnonzero(suspects):
        for kind, count in Counter(f.kind for f in find(text[i].as_py())).items():
            counts[COLUMNS[kind]][i] = count
    return counts


def find(text: str) -> list[Finding]:
    """Personal data in a text: sorted, without overlaps."""
    ascii_text = as_ascii(text)
    found = [*_emails(ascii_text), *_cards(ascii_text), *_ibans(ascii_text)]
    found += [*_ips(ascii_text), *_ssns(ascii_text), *_wallets(ascii_text)]
    found += [*_called(ascii_text), *_national_ids(ascii_text)]
    found += [*phones.find(ascii_text), *addresses.find(ascii_text)]
    return without_overlaps(found)


def _emails(text: bytes) -> Iterator[Finding]:
    if b"@" in text or b"%40" in text:
        for match in _EMAIL.finditer(text):
            yield Finding("email", match.start(), match.end())


def luhn(digits: bytes) -> bool:
    """The check of ISO/IEC 7812-1."""
    total = 0
    for i, digit in enumerate(reversed(digits)):
        value = digit - 48
        total += value if i % 2 == 0 else (2 * value - 9 if value > 4 else 2 * value)
    return total % 10 == 0


def _cards(text: bytes) -> Iterator[Finding]:
    for match in _CARD.finditer(text):
        start, end = match.span()
        if text[end : end + 1].isdigit() or text[start - 1 : start].isalnum():
            continue
        digits = bytes(c for c in match.group() if 48 <= c <= 57)
        if not _IIN.match(digits):
            continue
        if luhn(digits) or _CARD_CUE.search(text[max(0, start - 40) : start]):
            yield Finding("card", start, end)


def _ibans(text: bytes) -> Iterator[Finding]:
    for match in _IBAN.finditer(text):
        raw = match.group().upper()
        length = _IBAN_LENGTHS.get(raw[:2].decode())
        if length is None:
            continue
        positions = [i for i, c in enumerate(raw) if c not in b" -"][:length]
        compact = bytes(raw[i] for i in positions)
        if len(compact) == length and _mod97(compact) == 1:
            yield Finding("iban", match.start(), match.start() + positions[-1] + 1)


def _mod97(iban: bytes) -> int:
    moved = (iban[4:] + iban[:4]).decode()
    return int("".join(str(int(c, 36)) for c in moved)) % 97


def _ips(text: bytes) -> Iterator[Finding]:
    for match in _IPV4.finditer(text):
        after = text[match.end() : match.end() + 2]
        longer = after[:1] == b"." and after[1:].isdigit()
        if longer or _VERSION.search(text[max(0, match.start() - 12) : match.start()]):
            continue
        if _is_public(match.group().decode()):
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
        yield Finding("ssn", match.start(1), match.end(1))


def _wallets(text: bytes) -> Iterator[Finding]:
    for pattern in (_ETHEREUM, _MONERO_OR_TRON):
        for match in pattern.finditer(text):
            yield Finding("wallet", match.start(), match.end())
    for match in _BASE58.finditer(text):
        # Presidio checks the checksum of Bitcoin's base58 and bech32 forms.
        if _presidio("CryptoRecognizer").validate_result(match.group().decode()):
            yield Finding("wallet", match.start(), match.end())


def _called(text: bytes) -> Iterator[Finding]:
    for match in _CALLED.finditer(text):
        if sum(c in b"0123456789" for c in match.group(1)) >= 5:
            yield Finding("id_number", match.start(1), match.end(1))


def _national_ids(text: bytes) -> Iterator[Finding]:
    for match in _NINO.finditer(text):
        yield Finding("id_number", match.start(), match.end())
    for name, pattern in _NATIONAL_IDS.items():
        for match in pattern.finditer(text):
            if _presidio(name).validate_result(match.group().decode()):
                yield Finding("id_number", match.start(), match.end())


@cache
def _presidio(name: str) -> Any:
    """One of Presidio's recognizers, for its checksum; imported only when one is needed."""
    from presidio_analyzer import predefined_recognizers

    return getattr(predefined_recognizers, name)()
