"""Drafts: what is written beside its target and renamed over it, and what killed writers left.

A draft ends in the number of the process that writes it. Whoever writes the same target next
removes those whose process is no more: nobody else knows that they are there.
"""

import glob
import os
import shutil
from pathlib import Path


def draft_of(target: Path) -> Path:
    """Where this process writes the target first; drafts of killed processes are removed.

    A draft with our own number is of an earlier process that had it (numbers come again, in a
    container at once): so one process may write one target once at a time.
    """
    for draft in target.parent.glob(f".{glob.escape(target.name)}.*"):
        number = draft.name.rpartition(".")[2]
        if number.isdigit() and (int(number) == os.getpid() or not _lives(int(number))):
            if draft.is_dir() and not draft.is_symlink():
                shutil.rmtree(draft, ignore_errors=True)
            else:
                draft.unlink(missing_ok=True)
    return target.with_name(f".{target.name}.{os.getpid()}")


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user
        return True
    return True
