"""Files that survive a crash: whole or not at all, and on the disk before anyone goes on."""

import os
from pathlib import Path

from tidegate.flows.intake.home_key import sync_folder
from tidegate.gates.drafts import draft_of


def replace(path: Path, data: bytes) -> None:
    """Write `data` to `path` in one step: a reader sees the old file or the new, never half."""
    draft = draft_of(path)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    with os.fdopen(handle, "wb") as file:
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
