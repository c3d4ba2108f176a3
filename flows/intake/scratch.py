"""A folder for work in progress, on the disk of the home; leftovers of the dead are removed."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from tidegate.flows.home import Home

ALIVE = "alive.lock"


@contextmanager
def scratch_folder(home: Home) -> Iterator[Path]:
    """A new, private folder that is gone afterwards, whatever happens to the process.

    Whoever works holds a lock inside. A killed process leaves text of users behind, but its
    lock is free, and whoever comes next removes the folder.
    """
    root = home.root / "work"
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    with FileLock(root / "door.lock"):  # nobody sweeps between making a folder and locking it
        for other in root.iterdir():
            if other.is_dir():
                _remove_if_dead(other)
        folder = root / f"{os.getpid()}-{secrets.token_hex(4)}"
        folder.mkdir(mode=0o700)
        alive = FileLock(folder / ALIVE)
        alive.acquire()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        alive.release()


def _remove_if_dead(folder: Path) -> None:
    try:
        with FileLock(folder / ALIVE, timeout=0):
            shutil.rmtree(folder, ignore_errors=True)
    except Timeout:
        return
