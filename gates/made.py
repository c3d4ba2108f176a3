"""Suites that are made for one update, from its batch, its probes or the line's past.

Nobody ships them and no folder may hold them: their names are taken.
"""

UPDATE = "update"
PAST = "past_updates"
TIME = "time"
CONSEQUENCES = "consequences"
IN_CONTEXT = "consequences_in_context"
FIXED = (UPDATE, PAST, TIME, CONSEQUENCES, IN_CONTEXT)
DRESSED = "_dressed"


def dressed(suite: str) -> str:
    """The suite with the same items, each asked after an exchange of the batch."""
    return suite + DRESSED


def is_made(suite: str) -> bool:
    return suite in FIXED or suite.endswith(DRESSED)
