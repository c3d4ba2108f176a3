"""The keys of the quarantine: one for each file, wrapped by one of the home.

    keys/quarantine.key        32 random bytes, made on first use, mode 0600: wraps the others
    keys/quarantine/HEX.json   the data key of the batch HEX, wrapped (AES-256-GCM, bound to
                               the batch and to the file that it opens)

Each time a batch's file is written it gets a new data key, and the old key is gone with the
old file: data keys rotate by themselves, and a copy of an old file opens with nothing.
To be rid of a batch for good is to delete its data key (crypto-shredding); copies of the
file, in a backup too, cannot be read any more, as long as keys/ is not in the same backup.
A lost keys/quarantine.key, or one that was replaced, is lost with everything that it wraps:
restore it from a backup, or purge the batches and check their drops again. Who must replace it
(it was seen by others) does exactly that: purges, removes the file, checks the drops again.
"""

import base64
import json
import secrets
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tidegate.flows.home import Home
from tidegate.flows.intake.home_key import KEY_BYTES, home_key, sync_folder, write_private
from tidegate.gates.digest import canonical

NONCE = 12  # bytes, random: NIST SP 800-38D 8.2.2
LOST = "Without it, what is quarantined cannot be read: purge it and check the drops again"


class BrokenQuarantine(Exception):
    """What is stored cannot be read, or is not what was stored: exit code 4."""


@dataclass(frozen=True)
class DataKey:
    """Opens one file of one batch. `id`: 16 hexadecimal digits, in the name of its draft."""

    id: str
    key: bytes

    @classmethod
    def new(cls) -> "DataKey":
        return cls(secrets.token_hex(8), secrets.token_bytes(KEY_BYTES))


PURGED = DataKey("", b"")


def place(home: Home, batch: str) -> Path:
    return home.keys / "quarantine" / f"{batch.removeprefix('sha256:')}.json"


def keep(home: Home, batch: str, key: DataKey) -> None:
    """Make `key` the one of the batch; the one before is gone. Whole or not at all."""
    nonce = secrets.token_bytes(NONCE)
    wrapped = AESGCM(_wrapping(home)).encrypt(nonce, key.key, _bound_to(batch, key.id))
    said = {"id": key.id, "wrapped": base64.b64encode(nonce + wrapped).decode()}
    write_private(place(home, batch), canonical(said), replace=True)


def shred(home: Home, batch: str) -> None:
    """Forget the key, and say so until `forget`: a stopped purge is told from a lost key."""
    write_private(place(home, batch), canonical({"purged": True}), replace=True)


def forget(home: Home, batch: str) -> None:
    place(home, batch).unlink(missing_ok=True)
    sync_folder(place(home, batch).parent)


def held(home: Home, batch: str) -> DataKey | None:
    """The key of a batch, PURGED, or None if there is none. Raises BrokenQuarantine."""
    path = place(home, batch)
    try:
        said = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        said = None
    if said == {"purged": True}:
        return PURGED
    try:
        identity, wrapped = str(said["id"]), base64.b64decode(said["wrapped"], validate=True)
        opened = AESGCM(_wrapping(home)).decrypt(
            wrapped[:NONCE], wrapped[NONCE:], _bound_to(batch, identity)
        )
    except (InvalidTag, KeyError, TypeError, ValueError):
        raise BrokenQuarantine(
            f"{path}: {_wrapping_path(home).name} does not open this key: one of the two was "
            f"changed. Restore both from a backup. {LOST}"
        ) from None
    return DataKey(identity, opened)


def batches(home: Home) -> set[str]:
    return {f"sha256:{path.stem}" for path in (home.keys / "quarantine").glob("[!.]*.json")}


def _wrapping_path(home: Home) -> Path:
    return home.keys / "quarantine.key"


def _wrapping(home: Home) -> bytes:
    path = _wrapping_path(home)
    if not path.exists() and any(
        b'"wrapped"' in place(home, batch).read_bytes() for batch in batches(home)
    ):
        # A new one would open nothing, and make the loss look like damage.
        raise BrokenQuarantine(f"{path}: is gone. Restore it from a backup. {LOST}")
    return home_key(path, "the key of the quarantine", LOST)


def _bound_to(batch: str, identity: str) -> bytes:
    return canonical({"tidegate": "quarantine key 1", "batch": batch, "id": identity})
