"""The text of a record as the detectors read it, and how a masked text gets back into it.

All the words of a record (every message, the correction, the comment) are joined by line
breaks into one text. What reads in order on a screen is then in order for a detector, so
"What's your number?" in one message gives the next message its meaning.
"""

import codecs
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

LIMIT = 200_000  # bytes examined of a record; a longer one is a hit of every text gate
JOINT = "\n"


class Finding(NamedTuple):
    """Where something was found. Offsets are characters of the joined text."""

    kind: str
    start: int
    end: int


def joined_text(table: pa.Table) -> pa.Array:
    """One string a record: messages, correction and comment, in this order. Never null."""
    messages = table.column("messages").combine_chunks()
    contents = pa.ListArray.from_arrays(
        _offsets(messages), messages.flatten().field("content").fill_null("")
    )
    said = pc.binary_join(contents, JOINT).fill_null("")
    columns = [table.column(name).combine_chunks() for name in ("correction", "comment")]
    return pc.binary_join_element_wise(said, *columns, JOINT, null_handling="skip")


def _offsets(lists: pa.ListArray) -> pa.Array:
    """Offsets that start at zero and treat a null list as an empty one."""
    lengths = pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False)
    return pa.array(np.concatenate(([0], np.cumsum(lengths))), type=pa.int32())


def fields(record: Mapping[str, Any]) -> list[str]:
    """The texts of one record in the order in which `joined_text` joins them."""
    texts = [message["content"] or "" for message in record["messages"]]
    return texts + [
        record[name] for name in ("correction", "comment") if record[name] is not None
    ]


def with_fields(record: Mapping[str, Any], texts: Sequence[str]) -> dict[str, Any]:
    """The record with other texts, in the order of `fields`, and its derived columns redone."""
    rest = list(texts)
    messages = [{"role": m["role"], "content": rest.pop(0)} for m in record["messages"]]
    changed = dict(record, messages=messages)
    for name in ("correction", "comment"):
        if record[name] is not None:
            changed[name] = rest.pop(0)
    before = messages[:-1] if messages else []
    changed["prompt"] = "\n".join(f"{m['role']}: {m['content']}" for m in before)
    answer = messages[-1]["content"] if messages else ""
    changed["response"] = answer if changed["correction"] is None else changed["correction"]
    return changed


_SIGNS = {"Pd": "-", "Zs": " ", "Lu": "Z", "Lt": "Z"}  # by category of Unicode


def _one_byte(c: str) -> str:
    if c.isdecimal():
        return str(unicodedata.decimal(c))
    plain = unicodedata.normalize("NFKC", c)  # of a full-width sign
    if len(plain) == 1 and plain.isascii():
        return plain
    return _SIGNS.get(unicodedata.category(c), "z" if c.isalnum() else "?")


def _one_byte_each(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    run = error.object[error.start : error.end]
    return "".join(map(_one_byte, run)), error.end


codecs.register_error("tidegate.one_byte_each", _one_byte_each)


def as_ascii(text: str) -> bytes:
    """One byte a character, so that offsets agree: letters become z or Z, digits of any
    script, dashes and blanks the plain ones, other signs ?.

    RE2 then runs on bytes, without converting an offset for each match: that conversion
    is quadratic in a text full of matches.
    """
    return text.encode("ascii", errors="tidegate.one_byte_each")


def without_overlaps(findings: Sequence[Finding]) -> list[Finding]:
    """Findings in order; those that overlap become one, of the longest one's kind."""
    merged: list[Finding] = []
    longest = 0
    for finding in sorted(findings, key=lambda f: (f.start, -f.end)):
        length = finding.end - finding.start
        if merged and finding.start < merged[-1].end:
            last = merged[-1]
            kind = finding.kind if length > longest else last.kind
            merged[-1] = Finding(kind, last.start, max(last.end, finding.end))
            longest = max(longest, length)
        else:
            merged.append(finding)
            longest = length
    return merged
