"""A row as a Record, or why it is none: exactly as strict as Record, and a little more.

More: text holds no NUL, a row is at most 4 MB, times are RFC 3339 with a zone, `time` lies
between the year 2000 and a day from now, and validity must have a form in UTC. A row whose
`consent` is missing or null says nothing about consent, so it has none.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import orjson
from pydantic import ValidationError

from tidegate.flows.intake.connectors.rows import MAX_ROW, Unreadable
from tidegate.gates.types import Feedback, Message, Record

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
AHEAD = timedelta(days=1)  # clocks differ, and so do time zones that were written wrongly
RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", flags=re.ASCII
)
TIMES = ("time", "valid_from", "valid_until")
FIELDS, MESSAGE, FEEDBACK = (
    frozenset(noun.model_fields) for noun in (Record, Message, Feedback)
)
NAMES = FIELDS | MESSAGE | FEEDBACK
ROLES = frozenset(get_args(Message.model_fields["role"].annotation))


def read_record(row: Mapping[str, Any], now: datetime) -> Record:
    """The row as a Record. `now`: the latest time that is believed, less a day of grace.

    Raises Unreadable; its reason names fields and positions, never what is in them.
    """
    value = row if row.get("consent") is not None else {**row, "consent": False}
    _refuse_early(value)
    try:
        text = orjson.dumps(value)
    except TypeError as no:  # nested too deeply, bytes, a lone surrogate
        raise Unreadable("holds a value that is not JSON text, or is nested too deeply") from no
    if len(text) > MAX_ROW:
        raise Unreadable("row longer than 4 MB")
    # Six escaped characters may also stand in text that is about them, hence the second look.
    if b"\\u0000" in text and _holds_nul(value):
        raise Unreadable("text holds a NUL character")
    try:
        record = Record.model_validate_json(text)
    except ValidationError as no:
        raise Unreadable(_why(no)) from no
    if not EARLIEST <= record.time <= now + AHEAD:
        raise Unreadable("time: before the year 2000, or more than a day in the future")
    for when in (record.valid_from, record.valid_until):
        if when is not None:
            _in_utc(when)
    return record


def _refuse_early(value: Mapping[str, Any]) -> None:
    """Stop at the first fault where a hostile row could have a million.

    pydantic collects every fault, at over a kilobyte each: four megabytes of empty messages
    would take it gigabytes and most of a minute.
    """
    if not value.keys() <= FIELDS:
        raise Unreadable("holds a field that a record does not have")
    messages, feedback, tags = value.get("messages"), value.get("feedback"), value.get("tags")
    if isinstance(messages, list):
        for i, message in enumerate(messages):
            if not isinstance(message, dict) or message.keys() != MESSAGE:
                raise Unreadable(f"messages.{i}: not an object of role and content")
            if not isinstance(message["content"], str):
                raise Unreadable(f"messages.{i}.content: not text")
            if not isinstance(message["role"], str) or message["role"] not in ROLES:
                raise Unreadable(f"messages.{i}.role: none of {', '.join(sorted(ROLES))}")
    if isinstance(feedback, dict) and not feedback.keys() <= FEEDBACK:
        raise Unreadable("feedback: holds a field that feedback does not have")
    if isinstance(tags, dict) and not all(isinstance(tag, str) for tag in tags.values()):
        raise Unreadable("tags: a value is not text")
    for name in TIMES:
        when = value.get(name)
        if isinstance(when, str) and not RFC3339.fullmatch(when):
            raise Unreadable(f"{name}: not a time with a zone, such as 2026-01-31T12:00:00Z")


def _holds_nul(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(_holds_nul(key) or _holds_nul(item) for key, item in value.items())
    if isinstance(value, list):
        return any(_holds_nul(item) for item in value)
    return isinstance(value, str) and "\0" in value


def _in_utc(when: datetime) -> datetime:
    try:
        return when.astimezone(UTC)
    except OverflowError as no:
        raise Unreadable("valid_from or valid_until: outside the years 1 to 9999") from no


def _why(no: ValidationError) -> str:
    """The faults in words: pydantic's own sentences, and only names that are ours."""
    faults = no.errors(include_url=False, include_context=False, include_input=False)
    said = []
    for fault in faults[:3]:
        where = ".".join(
            str(part) for part in fault["loc"] if isinstance(part, int) or part in NAMES
        )
        what = fault["msg"].removeprefix("Value error, ")
        said.append(f"{where}: {what}" if where else what)
    more = f"; and {len(faults) - 3} more" if len(faults) > 3 else ""
    return "; ".join(said) + more
