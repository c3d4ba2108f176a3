"""Marks: how the lineage names records and authors without holding an id or a name.

A mark is 128 bits of BLAKE2b (RFC 7693) keyed with the home's own lineage key. Nobody without
the key can try ids until one fits; without it every mark is noise. So no other is ever made
where there are marks: erased records would be learned again, and nothing could be traced.
"""

import hashlib
from collections.abc import Iterable

from tidegate.flows.home import Home
from tidegate.flows.intake.home_key import home_key

KEY_FILE = "lineage.key"
MARKED = ("erased", "lineage")  # folders of the home that hold marks
RECORD, AUTHOR = b"tidegate.record", b"tidegate.author"


class Marker:
    """Gives marks with the key of one home."""

    def __init__(self, home: Home) -> None:
        """The key is made on first use; raises IngestError as `home_key` does.

        It is gone, and not unused, if there are tombstones or a lineage.
        """
        self._key = home_key(
            home.keys / KEY_FILE,
            "the key of the lineage",
            "Without it, no record can be traced to what it touched, and erased ones would be "
            "learned again",
            (path for name in MARKED for path in sorted((home.root / name).glob("[!.]*"))),
        )

    def record(self, record_id: str) -> str:
        """32 hexadecimal digits for the id of a record."""
        return self._mark(RECORD, record_id)

    def author(self, pseudonym: str) -> str:
        """32 hexadecimal digits for the pseudonym of an author."""
        return self._mark(AUTHOR, pseudonym)

    def records(self, ids: Iterable[str]) -> list[str]:
        return [self.record(name) for name in ids]

    def authors(self, pseudonyms: Iterable[str | None]) -> list[str | None]:
        return [None if name is None else self.author(name) for name in pseudonyms]

    def _mark(self, kind: bytes, name: str) -> str:
        keyed = hashlib.blake2b(name.encode(), digest_size=16, key=self._key, person=kind)
        return keyed.hexdigest()
