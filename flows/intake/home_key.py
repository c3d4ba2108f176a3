"""Random keys of a home: 32 bytes in a file of keys/, made on first use, for nobody else to read."""

import os
import secrets
import stat
from collections.abc import Iterable
from pathlib import Path

from tidegate.flows.intake.connectors.rows import IngestError
from tidegate.gates.drafts import draft_of

KEY_BYTES = 32


def home_key(path: Path, what: str, lost: str, made_with: Iterable[Path] = ()) -> bytes:
    """The key in `path`, made if there is none.

    what: "the key of pseudonyms", for messages. lost: what follows if it cannot be restored.
    made_with: files of the home that only this key can read; it is never made beside them.
    Raises IngestError if the key is gone, if the file cannot be made or read, has another
    length, or may be read by other users of the machine.
    """
    try:
        if not path.exists():
            made = next(iter(made_with), None)
            # Looked at again: another process may have made key and file since.
            if made is not None and not path.exists():
                raise IngestError(
                    f"{path}: {what} is gone, and {made} was made with it; restore it from a "
                    f"backup. {lost}"
                )
            write_private(path, secrets.token_bytes(KEY_BYTES))
        key, mode = path.read_bytes(), path.stat().st_mode
    except OSError as no:
        raise IngestError(
            f"{path}: {what} cannot be made or read ({no.strerror}); see that this user may "
            "write the folder, or set TIDEGATE_HOME to one that it may"
        ) from no
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise IngestError(f"{path}: others may read {what}; run: chmod 600 {path}")
    if len(key) != KEY_BYTES:
        raise IngestError(
            f"{path}: a key of {KEY_BYTES} bytes is needed, this one has {len(key)}; restore it "
            f"from a backup. {lost}"
        )
    return key


def write_private(path: Path, content: bytes, *, replace: bool = False) -> None:
    """A file of mode 0600, whole or not at all; another process's stays unless `replace`."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = draft_of(path)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            draft.replace(path)
        else:
            try:
                os.link(draft, path)  # unlike a rename, never replaces a key that is in use
            except FileExistsError:
                return
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make names in the folder survive a crash of the machine."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
