"""The check of a row, against Record itself."""

from datetime import datetime
from typing import Any

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.ingesting import ANSWERED, ASKED, GOOD, NOW
from tidegate.flows.intake.connectors.record import EARLIEST, RFC3339, read_record
from tidegate.flows.intake.connectors.rows import Unreadable
from tidegate.gates.types import Record

scalars = st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab\0é", max_size=3)
messages = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(("user", "assistant", "system", "tool", "x", 1))},
        optional={"content": scalars, "name": scalars},
    )
    | scalars,
    max_size=3,
)
times = st.datetimes(datetime(1990, 1, 1), datetime(2030, 1, 1)).map(
    lambda t: f"{t.isoformat()}Z"
)
wild_times = times | st.sampled_from(
    (
        "2026-01-01",
        "1767225600",
        "2026-01-01 00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        5,
        "",
    )
)
random_rows = st.fixed_dictionaries(
    {},
    optional={
        "id": scalars,
        "time": wild_times,
        "source": scalars,
        "user": st.just("u"),
        "messages": st.just([ASKED, ANSWERED]) | messages | scalars,
        "consent": st.booleans() | scalars,
        "feedback": st.dictionaries(
            st.sampled_from(("rating", "correction", "comment", "x")),
            st.sampled_from(("up", "down", None, 1)),
        )
        | scalars,
        "model": scalars,
        "tags": st.dictionaries(st.text(max_size=2), scalars, max_size=2) | scalars,
        "valid_from": wild_times | st.none(),
        "other": scalars,
    },
)
# Few random rows are good, so most tries spoil a good one here and there.
near_rows = random_rows.map(lambda row: {**GOOD, **dict(list(row.items())[-2:])})


@settings(max_examples=800, deadline=None, suppress_health_check=list(HealthCheck))
@given(row=random_rows | near_rows)
def test_exactly_as_strict_as_record(row: dict[str, Any]) -> None:
    """Refused are: what Record refuses, NULs, and times out of form or range; nothing else."""
    full = row if row.get("consent") is not None else {**row, "consent": False}
    try:
        expected: Record | None = Record.model_validate_json(orjson.dumps(full))
    except ValidationError:
        expected = None
    if expected is not None:
        stamps = [full[name] for name in ("time", "valid_from") if full.get(name) is not None]
        in_form = all(isinstance(t, str) and RFC3339.fullmatch(t) for t in stamps)
        in_range = expected.time >= EARLIEST and expected.time.timestamp() <= (
            NOW.timestamp() + 86_400
        )
        utc = full.get("valid_from") != "9999-12-31T23:59:59-01:00"
        if not (in_form and in_range and utc) or any("\0" in text for text in _texts(full)):
            expected = None
    try:
        found: Record | None = read_record(row, NOW)
    except Unreadable:
        found = None
    assert found == expected


def _texts(value: Any) -> Any:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from (*_texts(key), *_texts(item))
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str):
        yield value
