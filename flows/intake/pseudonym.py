"""The pseudonym of an author: a keyed hash, so that the name that came in is never stored.

The same user has the same pseudonym in every batch of one home. Without the key nobody can
try names until one fits. Where pseudonyms decide something no other key is ever made: erased
authors would be learned again under new ones, and what is counted of an author would begin anew.
"""

import hashlib

from tidegate.flows.home import Home
from tidegate.flows.intake.home_key import home_key

KEY_FILE = "pseudonym.key"
NAMED = ("erased", "learned")  # folders of the home that go by pseudonyms


def pseudonym(key: bytes, user: str) -> str:
    """'u_' and 24 hexadecimal digits: 96 bits of BLAKE2b keyed with `key` (RFC 7693).

    Two of a million authors share a pseudonym with a chance below 1e-17.
    """
    keyed = hashlib.blake2b(user.encode(), digest_size=12, key=key, person=b"tidegate.user")
    return "u_" + keyed.hexdigest()


def is_pseudonym(name: str) -> bool:
    """Whether it has the form of one; whether this home gave it is not seen."""
    digits = set("0123456789abcdef")
    return len(name) == 26 and name.startswith("u_") and set(name[2:]) <= digits


def pseudonym_key(home: Home) -> bytes:
    """The key of this home: 32 random bytes in keys/pseudonym.key, made on first use.

    Raises IngestError as `home_key` does. It is gone, and not unused, if there are tombstones
    or anything is noted of authors.
    """
    path = home.keys / KEY_FILE
    return home_key(
        path,
        "the key of pseudonyms",
        "Without it, authors get new pseudonyms, and erased ones would be learned again",
        (file for name in NAMED for file in sorted((home.root / name).glob("[!.]*"))),
    )
