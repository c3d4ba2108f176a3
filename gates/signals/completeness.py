"""What every record must have: fields, roles in order, an answer, a length that is examined.

Sees: empty or missing fields, a last message that is not the assistant's, answers of white
space only, and records longer than the detectors examine.
Cannot see: whether what is there makes sense.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

MISSING, DISORDER, BLANK, TOO_LONG = (
    "missing_fields", "roles_out_of_order", "blank_response", "too_long",
)  # fmt: skip
_TEXT = ("id", "source", "user", "response")


def measure(table: pa.Table, too_long: np.ndarray) -> dict[str, np.ndarray]:
    """For each record, how many required fields are missing, and three yes-or-no columns."""
    missing = pc.is_null(table.column("time")).to_numpy().astype(np.float32)
    for name in _TEXT:
        filled = table.column(name).fill_null("")
        missing += pc.equal(pc.binary_length(filled), 0).to_numpy()
    return {
        MISSING: missing,
        DISORDER: _disorder(table.column("messages").combine_chunks()),
        BLANK: _blank(table.column("response")),
        TOO_LONG: too_long.astype(np.float32),
    }


def _disorder(messages: pa.ListArray) -> np.ndarray:
    """1 where the last message is not the assistant's, or nobody asked."""
    lengths = pc.list_value_length(messages).fill_null(0).to_numpy(zero_copy_only=False)
    roles = messages.flatten().field("role")
    ends = np.cumsum(lengths)
    answers = pc.equal(roles, "assistant").fill_null(False).to_numpy(zero_copy_only=False)
    asked = pc.equal(roles, "user").fill_null(False).to_numpy(zero_copy_only=False)
    asked_before = np.concatenate(([0], np.cumsum(asked)))
    ordered = asked_before[ends] > asked_before[ends - lengths]
    last = np.zeros(len(lengths), dtype=bool)
    filled = lengths > 0
    last[filled] = answers[ends[filled] - 1]
    return np.asarray(~(ordered & last), dtype=np.float32)


def _blank(response: pa.ChunkedArray) -> np.ndarray:
    words = pc.match_substring_regex(response.fill_null(""), r"[\p{L}\p{N}\p{S}\p{P}]")
    return np.asarray(~words.to_numpy(), dtype=np.float32)
