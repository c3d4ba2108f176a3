"""By how many processes this machine trains: an option of the machine, and so of no recipe.

The adapter is the same to the last bit by any number of them that round alike; the statement says
how many there were.
"""

import os

from tidegate.flows.usage import UsageError
from tidegate.training.launch import MOST

VARIABLE = "TIDEGATE_PROCESSES"


def training_processes(asked: int | None) -> int:
    """The number asked for, else of $TIDEGATE_PROCESSES, else 1. Raises UsageError."""
    named = str(asked) if asked is not None else os.environ.get(VARIABLE) or "1"
    if not named.isascii() or not named.isdigit() or not 1 <= int(named) <= MOST:
        raise UsageError(f"{named!r} training processes ({VARIABLE}); there can be 1 to {MOST}")
    return int(named)
