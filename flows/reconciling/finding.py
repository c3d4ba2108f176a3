"""One difference between ledger and registry, and the error that stops whoever would serve it."""

from enum import StrEnum

from tidegate.flows.reviewing.wording import clean
from tidegate.gates.types import Noun


class Kind(StrEnum):
    ALIAS_MOVED = "alias_moved"
    ALIAS_MISSING = "alias_missing"
    TAG_OVERWRITTEN = "tag_overwritten"
    VERSION_MISSING = "version_missing"
    ARTIFACT_CHANGED = "artifact_changed"
    ARTIFACT_MISSING = "artifact_missing"
    NOT_ERASED = "not_erased"
    UNKNOWN_VERSION = "unknown_version"
    STATEMENT_MISSING = "statement_missing"
    UNFINISHED = "unfinished"


class Finding(Noun):
    """What is not as the ledger says: what happened, and what would do."""

    kind: Kind
    model: str
    version: str  # empty where the finding is about the line
    what: str
    do: str


class Unreconciled(Exception):
    """The registry is not what the ledger says, or cannot be asked: nothing may be served."""


def shown(value: str | None) -> str:
    """A value that anybody may have written into the registry, for a message."""
    return "nothing" if value is None else repr(clean(value, 80))
