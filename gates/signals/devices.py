"""Numbers of devices: MAC addresses, and the IMEI that a text calls one.

Sees: six bytes parted by colons or hyphens, Cisco's three groups (IEEE 802), and fifteen
digits with a right Luhn digit behind the word IMEI (3GPP TS 23.003).
Cannot see: twelve bare hexadecimal digits, serial numbers, advertising ids (a UUID).
"""

from collections.abc import Iterator

from tidegate.gates.signals.linear_regex import Regex
from tidegate.gates.signals.national_ids import digits_of, luhn
from tidegate.gates.signals.text import Finding

_MAC = Regex(
    r"\b(?:(?:[0-9A-F]{2}:){5}|(?:[0-9A-F]{2}-){5})[0-9A-F]{2}\b"
    r"|\b(?:[0-9A-F]{4}\.){2}[0-9A-F]{4}\b",
    ignore_case=True,
)
_IMEI = Regex(r"\bimei\b\D{0,20}(\d(?:[- /]?\d){14})\b", ignore_case=True)


def find(text: bytes) -> Iterator[Finding]:
    """Numbers of devices in an ASCII text (see text.as_ascii)."""
    for match in _MAC.finditer(text):
        value = match.group().lower()
        # Digits alone may be a date with a time; one letter alone is everybody or nobody.
        if len(set(value)) > 2 and not set(value) <= set(b"0123456789-."):
            yield Finding("device", match.start(), match.end())
    for match in _IMEI.finditer(text):
        if luhn(digits_of(match.group(1))):
            yield Finding("device", match.start(1), match.end(1))
