"""The pseudonym of an author: a keyed hash, so that the name that came in is never stored.

The same user has the same pseudonym in every batch of one home. Without the key nobody can
try names until one fits, and deleting the key cuts the tie to people for good.
"""

import hashlib
import os
import secrets
import stat
from pathlib import Path

from tidegate.flows.home import Home
from tidegate.flows.intake.connectors.rows import IngestError

KEY_FILE = "pseudonym.key"
KEY_BYTES = 32


def pseudonym(key: bytes, user: str) -> str:
    """'u_' and 24 hexadecimal digits: 96 bits of BLAKE2b keyed with `key` (RFC 7693).

    Two of a million authors share a pseudonym with a chance below 1e-17.
    """
    keyed = hashlib.blake2b(user.encode(), digest_size=12, key=key, person=b"tidegate.user")
    return "u_" + keyed.hexdigest()


def pseudonym_key(home: Home) -> bytes:
    """The key of this home: 32 random bytes in keys/pseudonym.key, made on first use.

    Raises IngestError if the file cannot be made or read, has another length, or may be read by
    other users of the machine.
    """
    path = home.keys / KEY_FILE
    try:
        if not path.exists():
            _create(path)
        key, mode = path.read_bytes(), path.stat().st_mode
    except OSError as no:
        raise IngestError(
            f"{path}: the key of pseudonyms cannot be made or read ({no.strerror}); see that "
            "this user may write the folder, or set TIDEGATE_HOME to one that it may"
        ) from no
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise IngestError(
            f"{path}: others may read the key of pseudonyms; run: chmod 600 {path}"
        )
    if len(key) != KEY_BYTES:
        raise IngestError(
            f"{path}: a key of {KEY_BYTES} bytes is needed, this one has {len(key)}; restore it "
            "from a backup. Without it, authors get new pseudonyms"
        )
    return key


def _create(path: Path) -> None:
    """Write a new key; if another process was faster, keep that one's."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)  # unlike a rename, never replaces a key that is in use
        except FileExistsError:
            return
    finally:
        draft.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
