"""Files that survive a crash: whole or not at all, and on the disk before anyone goes on."""

import os
from pathlib import Path

from tidegate.flows.intake.home_key import sync_folder
from tidegate.gates.drafts import draft_of


def replace(path: Path, data: bytes) -> None:
    """Write `data` to `path` in one step: a reader sees the old file or the new, never half.

    A file that is there keeps its mode, and no draft of it may be read by more people.
    """
    draft = draft_of(path)
    mode = path.stat().st_mode & 0o777 if path.exists() else None
    handle = os.open(
        draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644 if mode is None else 0o600
    )
    with os.fdopen(handle, "wb") as file:
        if mode is not None:
            os.fchmod(file.fileno(), mode)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)


def append(path: Path, data: bytes) -> None:
    """Write `data` behind what is in the file."""
    new = not path.exists()
    with path.open("ab") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    if new:  # the file's name must survive too
        sync_folder(path.parent)
