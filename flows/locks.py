"""One change to a model line at a time: an update, a waiver applied, whatever moves aliases."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from tidegate.flows.home import Home
from tidegate.flows.usage import UsageError


@contextmanager
def one_at_a_time(home: Home, model: str) -> Iterator[None]:
    """Hold the model line, or raise UsageError at once if somebody else does."""
    home.updates.mkdir(parents=True, exist_ok=True)
    lock = FileLock(_path(home, model), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise UsageError(
            f"another command (an update, an approval, an erasure) is running on {model!r}; "
            "wait for it to end, and run this again"
        ) from None
    try:
        yield
    finally:
        lock.release()


def is_held(home: Home, model: str) -> bool:
    """Whether somebody on this machine changes the model line at this moment.

    The file is only read: whoever looks need not be allowed to write into the home.
    """
    try:
        with _path(home, model).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _path(home: Home, model: str) -> Path:
    return home.updates / f"{model}.lock"
