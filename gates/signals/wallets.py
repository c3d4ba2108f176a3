"""Addresses of crypto wallets, by their checksums where the form has one.

Sees: base58check (Bitcoin, Litecoin, Dogecoin, Tron, Ripple), bech32 and bech32m with any
prefix (Bitcoin, Litecoin, Cardano, Cosmos), CashAddr, Ethereum, Monero, TON; and Solana's
bare base58 where a word near it says what it is.
Cannot see: bare base58 without such a word.

Source: BIP 173 and BIP 350 (bech32, bech32m); base58check as Bitcoin's wiki has it.
"""

import hashlib
import re
from collections.abc import Iterator

from tidegate.gates.signals.linear_regex import Regex
from tidegate.gates.signals.text import Finding

_FORMED = Regex(
    r"\b0x[0-9a-fA-F]{40}\b|\b4[0-9AB][1-9A-HJ-NP-Za-km-z]{93}\b"
    r"|\bbitcoincash:[qp][02-9ac-hj-np-z]{41}\b|\b[EUk]Q[0-9A-Za-z_-]{46}(?:[^0-9A-Za-z_-]|$)"
)
_BASE58 = Regex(r"\b[1-9A-HJ-NP-Za-km-z]{26,44}\b")
_BECH32 = Regex(r"\b[a-z]{1,12}1[02-9ac-hj-np-z]{20,110}\b", ignore_case=True)
_CUE = re.compile(
    rb"wallet|\bsol\b|solana|phantom|crypto|deposit|donat|\bbtc\b|\bxrp\b|\busd[ct]\b|token",
    re.IGNORECASE,
)
_ALPHABETS = (
    b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz",
    b"rpshnaf39wBUDNEGHJKLM4PQRST7VWXYZ2bcdeCg65jkm8oFqi1tuvAxyz",  # Ripple's
)
_BECH32_ALPHABET = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_BECH32_SUMS = (1, 0x2BC830A3)


def find(text: bytes) -> Iterator[Finding]:
    """Wallets in an ASCII text (see text.as_ascii)."""
    for match in _FORMED.finditer(text):
        yield Finding("wallet", match.start(), match.start() + len(match.group().rstrip()))
    for match in _BASE58.finditer(text):
        value = match.group()
        if _is_one_case(value):
            continue  # words, hashes and numbers
        around = text[max(0, match.start() - 40) : match.end() + 40]
        long = 43 <= len(value) <= 44 or value.startswith(b"r")
        bare = long and _CUE.search(around)
        if bare or any(_is_base58check(value, alphabet) for alphabet in _ALPHABETS):
            yield Finding("wallet", match.start(), match.end())
    for match in _BECH32.finditer(text):
        if _is_bech32(match.group().lower()):
            yield Finding("wallet", match.start(), match.end())


def _is_one_case(value: bytes) -> bool:
    return value.lower() == value or value.upper() == value or value.isalpha()


def _is_base58check(value: bytes, alphabet: bytes) -> bool:
    number = 0
    for c in value:
        place = alphabet.find(c)
        if place < 0:
            return False
        number = number * 58 + place
    if number >= 1 << 200:  # a version of one byte, a hash of 20, a checksum of 4
        return False
    raw = number.to_bytes(25)
    return hashlib.sha256(hashlib.sha256(raw[:21]).digest()).digest()[:4] == raw[21:]


def _is_bech32(value: bytes) -> bool:
    prefix, _, data = value.rpartition(b"1")
    values = [c >> 5 for c in prefix] + [0] + [c & 31 for c in prefix]
    total = 1
    for v in values + [_BECH32_ALPHABET.find(c) for c in data]:
        top = total >> 25
        total = (total & 0x1FFFFFF) << 5 ^ v
        for i, g in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            total ^= g if top >> i & 1 else 0
    return total in _BECH32_SUMS
