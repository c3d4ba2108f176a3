"""Files that survive a crash: whole or not at all, and on the disk before anyone goes on."""

import glob
import os
from pathlib import Path

from tidegate.flows.intake.home_key import sync_folder


def replace(path: Path, data: bytes) -> None:
    """Write `data` to `path` in one step: a reader sees the old file or the new, never half."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    _remove_dead(path)
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


def _remove_dead(path: Path) -> None:
    """Drafts of processes that were killed in writing, and of one that had our number."""
    for draft in path.parent.glob(f".{glob.escape(path.name)}.*"):
        number = draft.name.rpartition(".")[2]
        if number.isdigit() and (int(number) == os.getpid() or not _lives(int(number))):
            draft.unlink(missing_ok=True)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user
        return True
    return True
