"""One change to a model line at a time: an update, a waiver applied, whatever moves aliases."""

from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from tidegate.flows.home import Home
from tidegate.flows.usage import UsageError


@contextmanager
def one_at_a_time(home: Home, model: str) -> Iterator[None]:
    """Hold the model line, or raise UsageError at once if somebody else does."""
    home.updates.mkdir(parents=True, exist_ok=True)
    lock = _lock(home, model)
    try:
        lock.acquire()
    except Timeout:
        raise UsageError(
            f"another update of {model!r} is running; wait for it, or give this one another "
            "--model"
        ) from None
    try:
        yield
    finally:
        lock.release()


def is_held(home: Home, model: str) -> bool:
    """Whether somebody on this machine changes the model line at this moment."""
    if not home.updates.is_dir():
        return False
    lock = _lock(home, model)
    try:
        lock.acquire()
    except Timeout:
        return True
    lock.release()
    return False


def _lock(home: Home, model: str) -> FileLock:
    return FileLock(home.updates / f"{model}.lock", timeout=0)
