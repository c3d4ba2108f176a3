"""Stand-ins for personal data: well-formed, of the same type, and nobody's.

Each is of a range that is kept free by those who give such numbers out, narrowed to an
exact form, so that the detectors can tell a stand-in from a value that somebody has:

    email    user48213@example.org         RFC 2606 keeps the domains for examples
    phone    297-555-0142                  no area code has a 9 in its middle, and 555-01xx
                                           is kept for fiction (North American plan)
    card     0000 0000 1234 5670           passes Luhn, as validators in a text expect;
                                           ISO/IEC 7812 gives no issuer the number 000000
    iban     ZZ47 0000 1234 5678 9012      passes mod 97; ISO 3166 gives no country ZZ
    ip       192.0.2.7, 2001:db8:ffff::1   RFC 5737, RFC 3849
    ssn      000-12-3456                   no area 000 was ever given out
    wallet   0x000...0001a2b3c4d           nobody holds a key of it
    id       ZZ00012345                    no country ZZ
    address  4711 Example Street; postcode 00042
    birth_date   1873-05-28                nobody born then is alive
    device       00:00:5e:00:53:1f         RFC 7042 keeps them for documentation
    coordinates  0.0042, 0.0017            the open sea
    person   Taylor Morgan                 word by word, of names that very many have
    place    Springfield                   of names that very many towns have

A person who writes one himself says nothing of anybody by it, and is believed nothing: it
is simply no finding. Names are not kept free for anybody, so a name is a finding whichever
it is; NAMES only says which words are too common to tell anything. It may not touch other letters or digits, so that nothing can be hidden
as a part of it, and it can carry a few digits at most.
"""

import hashlib
import hmac
import re
from collections.abc import Callable

from tidegate.gates.signals.linear_regex import Regex
from tidegate.gates.signals.national_ids import digits_of, luhn

FORM = (
    r"user\d{5}@example\.(?:com|net|org)"
    r"|(?:\+1-)?[2-8]9\d-555-01\d{2}"
    r"|0000 0000 \d{4} \d{4}"
    r"|ZZ\d{2} 0000 \d{4} \d{4} \d{4}"
    r"|192\.0\.2\.\d{1,3}|198\.51\.100\.\d{1,3}|2001:db8:ffff::[0-9a-f]{1,4}"
    r"|000-\d{2}-\d{4}"
    r"|0x0{32}[0-9a-f]{8}"
    r"|ZZ000\d{5}"
    r"|[1-9]\d{0,3} Example Street"
    r"|000\d{2}"
    r"|18[5-9]\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])"
    r"|00:00:5e:00:53:[0-9a-f]{2}"
    r"|0\.00\d{2}, 0\.00\d{2}"
)
_PEOPLE = (
    "Adrian Alexis Allen Arden Ashley Aubrey Avery Bailey Blair Blake Brett Cameron Carey Casey "
    "Cody Connor Corey Dakota Devon Dylan Eden Ellis Emerson Finley Harley Hayden Jamie Jesse "
    "Jordan Kelly Kelsey Kendall Kerry Kim Lindsay Logan Marion Meredith Morgan Nelson Noel "
    "Parker Quinn Reese Regan Remy Riley Robin Rory Rowan Ryan Sasha Shannon Sidney Skyler "
    "Stacy Stevie Sydney Tatum Taylor Terry Tracy Tyler Whitney Wyatt"
)
_TOWNS = (
    "Ashland Auburn Bristol Burlington Clayton Clinton Danville Dayton Dover Fairfield Fairview "
    "Franklin Georgetown Greenville Hudson Jackson Kingston Lexington Madison Manchester Marion "
    "Milford Milton Newport Oakland Oxford Riverside Salem Springfield Winchester"
)
PEOPLE, TOWNS = _PEOPLE.split(), _TOWNS.split()
NAMES = "|".join([*PEOPLE, *TOWNS])
_FORM_ANYWHERE = Regex(FORM)
_POSTCODE = re.compile(r"[A-Za-z]{0,2}-?\d[A-Za-z0-9]{0,8}(?:[ -][0-9A-Za-z]{1,4})?")


def blanked(text: bytes) -> bytes:
    """An ASCII text (see text.as_ascii) with stand-ins as question marks, same length."""
    pieces, at = [], 0
    for match in _FORM_ANYWHERE.finditer(text):
        start, end = match.span()
        if not _stands_alone(text, start, end) or not _is_right(match.group()):
            continue
        pieces += [text[at:start], b"?" * (end - start)]
        at = end
    return b"".join([*pieces, text[at:]]) if pieces else text


def _stands_alone(text: bytes, start: int, end: int) -> bool:
    """Whether it is no part of a longer word, number or domain."""
    before, after = text[max(0, start - 2) : start], text[end : end + 2]
    form = text[start:end]
    if before[-1:].isalnum() or after[:1].isalnum() or before[-1:] == b"+":
        return False
    if b"@" in form or form.count(b".") == 3:
        return not (after[:1] in (b".", b"-") and after[1:].isalnum())
    return not (form.startswith(b"0000 ") and before[:1].isdigit())


def _is_right(form: bytes) -> bool:
    """Check digits, where the kind has them."""
    if form.startswith(b"0000 "):
        return luhn(digits_of(form))
    if form.startswith(b"ZZ") and b" " in form:
        return mod97(form.replace(b" ", b"")) == 1
    return True


def mod97(iban: bytes) -> int:
    """The check of ISO 13616; 1 if it is right."""
    moved = (iban[4:] + iban[:4]).decode()
    return int("".join(str(int(c, 36)) for c in moved)) % 97


def epoch_key(secret: bytes, epoch: str) -> bytes:
    """The key of one batch or run, so that no stand-in outlives it."""
    return hmac.digest(secret, f"surrogates {epoch}".encode(), "sha256")


def normalised(kind: str, value: str) -> str:
    """What is the same in all ways to write a value."""
    if kind == "phone":
        # Without extension; with or without the country's code the last nine are the same.
        return re.sub(r"\D", "", re.split(r"[xX]|ext", value)[0])[-9:]
    if kind == "email":
        value = re.sub(r"\s?[\[({<]\s?(at|dot)\s?[\])}>]\s?|\s(at|dot)\s", ".", value)
        value = value.replace("%40", ".").replace("@", ".")
        return value.casefold()
    return re.sub(r"[\W_]+", "", value).casefold()


def stand_in(kind: str, value: str, *, key: bytes, record: str, attempt: int = 0) -> str:
    """The stand-in for a value in a record: the same again for the same four, and as good
    as random for anybody without the key, who so cannot link or test values by it.

    kind: one of personal_data.KINDS, or `person` (a word of a name) or `place`. attempt: for another one, where two values met.
    """
    said = "\0".join((record, kind, normalised(kind, value), str(attempt)))
    number = int.from_bytes(hmac.digest(key, said.encode("utf-8", "replace"), hashlib.sha256))
    return _MAKERS[kind](number, value)


def _email(n: int, _: str) -> str:
    return f"user{n % 100_000:05d}@example.{('com', 'net', 'org')[n // 100_000 % 3]}"


def _phone(n: int, value: str) -> str:
    code = "+1-" if value.lstrip(" (").startswith(("+", "00")) else ""
    return f"{code}{2 + n % 7}9{n // 7 % 10}-555-01{n // 70 % 100:02d}"


def _card(n: int, _: str) -> str:
    body = f"{n % 10_000_000:07d}"
    digits = next(f"{body}{c}" for c in range(10) if luhn(f"{body}{c}".encode()))
    return f"0000 0000 {digits[:4]} {digits[4:]}"


def _iban(n: int, _: str) -> str:
    body = f"0000{n % 10**12:012d}"
    check = 98 - mod97(f"ZZ00{body}".encode())
    return " ".join((f"ZZ{check:02d}", *(body[i : i + 4] for i in range(0, 16, 4))))


def _ip(n: int, value: str) -> str:
    if ":" in value:
        return f"2001:db8:ffff::{1 + n % 0xFFFF:x}"
    return f"{('192.0.2', '198.51.100')[n % 2]}.{1 + n // 2 % 254}"


def _ssn(n: int, _: str) -> str:
    return f"000-{1 + n % 99:02d}-{1 + n // 99 % 9999:04d}"


def _wallet(n: int, _: str) -> str:
    return f"0x{0:032x}{n % 2**32:08x}"


def _id_number(n: int, _: str) -> str:
    return f"ZZ000{n % 100_000:05d}"


def _address(n: int, value: str) -> str:
    if _POSTCODE.fullmatch(value):
        return f"000{n % 100:02d}"
    return f"{1 + n % 9999} Example Street"


def _birth_date(n: int, _: str) -> str:
    return f"{1850 + n % 50}-{1 + n // 50 % 12:02d}-{1 + n // 600 % 28:02d}"


def _device(n: int, _: str) -> str:
    return f"00:00:5e:00:53:{n % 256:02x}"


def _coordinates(n: int, _: str) -> str:
    return f"0.00{n % 100:02d}, 0.00{n // 100 % 100:02d}"


def _person(n: int, _: str) -> str:
    return PEOPLE[n % len(PEOPLE)]


def _place(n: int, _: str) -> str:
    return TOWNS[n % len(TOWNS)]


_MAKERS: dict[str, Callable[[int, str], str]] = {
    "email": _email,
    "phone": _phone,
    "card": _card,
    "iban": _iban,
    "ip": _ip,
    "ssn": _ssn,
    "wallet": _wallet,
    "id_number": _id_number,
    "address": _address,
    "birth_date": _birth_date,
    "device": _device,
    "coordinates": _coordinates,
    "person": _person,
    "place": _place,
}
