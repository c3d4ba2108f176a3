"""JSON Lines: one object a line, read without ever holding more than one bounded line.

Stricter than most readers, because whoever writes a drop may be an attacker: a key set twice,
a lone surrogate, NaN or bytes that are not UTF-8 make a row unreadable, so that no two
programs can understand one row in two ways.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from tidegate.flows.intake.connectors.rows import MAX_ROW, IngestError, Row, Unreadable

PIECE = 1 << 20
BOM = b"\xef\xbb\xbf"


def rows(path: Path) -> Iterator[Row]:
    """Every line that is not blank. Raises IngestError if the file cannot be read."""
    try:
        with path.open("rb") as file:
            for line, text in _lines(file):
                if isinstance(text, Unreadable):
                    yield Row(line, text)
                elif text.strip():
                    yield Row(line, parse(text))
    except OSError as no:
        raise IngestError(
            f"{path}: cannot be read ({no.strerror}); see that the file is whole and that this "
            "user may read it"
        ) from no


def parse(text: bytes) -> dict[str, Any] | Unreadable:
    """One line as an object, or why it is none."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as no:
        return Unreadable(_why(text, no))
    if not isinstance(value, dict):
        return Unreadable("the line is not a JSON object")
    try:
        again = orjson.dumps(value)
    except TypeError:
        return Unreadable("nested too deeply")
    # Written again, a value whose keys are all different has as many colons as before, unless
    # a colon was escaped. Only lines that differ are worth the slow and certain look.
    suspicious = b"\\u003" in text or text.count(b":") != again.count(b":")
    if suspicious and _sets_a_key_twice(text):
        return Unreadable("an object sets the same key twice")
    return value


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes | Unreadable]]:
    line = 0
    while text := file.readline(MAX_ROW + 1):
        line += 1
        if line == 1:
            text = text.removeprefix(BOM)
        if len(text) > MAX_ROW and not text.endswith(b"\n"):
            while (piece := file.readline(PIECE)) and not piece.endswith(b"\n"):
                pass  # the rest of the line is skipped piece by piece, never held
            yield line, Unreadable("line longer than 4 MB")
        else:
            yield line, text


def _why(text: bytes, no: orjson.JSONDecodeError) -> str:
    try:
        text.decode()
    except UnicodeDecodeError as bad:
        return f"not UTF-8 at byte {bad.start + 1} of the line"
    if "depth" in no.msg or "ecursion" in no.msg:
        return "nested too deeply"
    if "surrogate" in no.msg:
        return f"half of a surrogate pair at character {no.pos + 1} of the line"
    return f"not JSON at character {no.pos + 1} of the line"


def _sets_a_key_twice(text: bytes) -> bool:
    twice = False

    def look(pairs: list[tuple[str, Any]]) -> None:
        nonlocal twice
        twice = twice or len({key for key, _ in pairs}) < len(pairs)

    try:
        json.loads(text, object_pairs_hook=look)
    except (ValueError, RecursionError):  # such as a number of 5,000 digits: no Record either
        return True
    return twice
