"""OpenAI and ShareGPT rows: what they become, and who speaks for them."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.ingesting import (
    ANSWERED,
    ASKED,
    GOOD,
    SECRET,
    but,
    drop,
    reasons,
    run,
    stored,
    without,
)
from tidegate.flows.intake.connectors.rows import IngestError

DEFAULTS = {"source": "export", "user": "pool", "time": "2026-05-01T00:00:00Z"}
CHAT = {"messages": [{"role": "developer", "content": "be kind"}, ASKED, ANSWERED]}
SHAREGPT = {
    "id": "x_0",
    "conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}],
}


@pytest.mark.parametrize("row", [CHAT, SHAREGPT])
def test_foreign_rows_take_who_when_and_whether_from_the_defaults(
    tmp_path: Path, row: dict[str, Any]
) -> None:
    path = drop(tmp_path / "d.jsonl", row, row)
    batch = run(tmp_path, path, defaults={**DEFAULTS, "consent": "true"})
    assert (batch.rows, batch.duplicates) == (1, 1)
    (kept,) = stored(tmp_path, batch)
    assert kept["id"].startswith("sha256:") and kept["source"] == "export"
    roles = [message["role"] for message in kept["messages"]]
    assert roles == (["system", "user", "assistant"] if row is CHAT else ["user", "assistant"])
    for consent in ({}, {"consent": "false"}, {"consent": False}):
        batch = run(tmp_path, path, defaults={**DEFAULTS, **consent})
        assert (batch.rows, batch.without_consent, batch.duplicates) == (0, 1, 1)
    with pytest.raises(IngestError, match=r"d.jsonl:1: .*--default user=… --default time=…"):
        run(tmp_path, path, defaults={"source": "export"})


@pytest.mark.parametrize(
    ("defaults", "reason"),
    [
        ({"colour": "red"}, "--default colour: there are only"),
        ({"consent": "yes"}, "--default consent: write true or false"),
        ({"consent": 1}, "--default consent: Input should be a valid boolean"),
        ({"time": "yesterday"}, "--default time: not a time with a zone"),
        ({"time": datetime(2031, 1, 1, tzinfo=UTC)}, "--default time: before the year 2000"),
        ({"user": ""}, "--default user: String should have at least"),
    ],
)
def test_a_bad_default_is_refused(
    tmp_path: Path, defaults: dict[str, Any], reason: str
) -> None:
    with pytest.raises(IngestError) as no:
        run(tmp_path, drop(tmp_path / "d.jsonl", GOOD), defaults=defaults)
    assert reason in str(no.value)


def test_a_default_never_overrules_what_a_row_says(tmp_path: Path) -> None:
    said = {**DEFAULTS, "consent": "true"}
    silent = without("consent")
    batch = run(tmp_path, drop(tmp_path / "d.jsonl", silent, but(id="b")), defaults=said)
    assert (batch.rows, batch.without_consent) == (1, 1)
    path = drop(tmp_path / "e.jsonl", CHAT, {**CHAT, "consent": False}, {**CHAT, "user": "x"})
    batch = run(tmp_path, path, defaults=said)
    assert (batch.rows, batch.unreadable) == (1, 2)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"messages": []}, "messages: not a list with a message in it"),
        ({"messages": [SECRET]}, "messages.0: not an object"),
        ({"messages": [{"role": "user"}]}, "messages.0: role and content must be text"),
        (
            {"messages": [{**ASKED, "content": [{"type": "image_url", "image_url": SECRET}]}]},
            "messages.0.content: a part is not text",
        ),
        (
            {"messages": [ASKED, {"role": "assistant", "content": None, "tool_calls": [1]}]},
            "messages.1: calls a tool",
        ),
        ({"messages": [ASKED, {**ANSWERED, "weight": 0}]}, "has weight 0"),
        ({"messages": [ASKED]}, "the last message must be the assistant's"),
        ({"messages": [{**ASKED, "role": SECRET}, ANSWERED]}, "messages.0.role: none of"),
        ({"conversations": []}, "conversations: not a list with a turn in it"),
        ({"conversations": [SECRET]}, "conversations.0: not an object"),
        ({"conversations": [{"from": SECRET, "value": "x"}]}, "conversations.0.from: none of"),
        ({"conversations": [{"from": "gpt", "value": 7}]}, "conversations.0.value: not text"),
    ],
)
def test_a_bad_foreign_row_is_unreadable(
    tmp_path: Path, row: dict[str, Any], reason: str
) -> None:
    batch = run(tmp_path, drop(tmp_path / "d.jsonl", row), defaults=DEFAULTS)
    assert (batch.read, batch.unreadable) == (1, 1)
    (said,) = reasons(tmp_path)
    assert reason in said and SECRET not in said


def test_text_in_parts_is_joined(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]
    row = {"messages": [{"role": "user", "content": parts}, ANSWERED]}
    defaults = {**DEFAULTS, "consent": True}
    batch = run(tmp_path, drop(tmp_path / "d.jsonl", row), defaults=defaults)
    assert stored(tmp_path, batch)[0]["prompt"] == "user: one two"


def test_a_row_may_bring_its_signature_and_what_was_signed(tmp_path: Path) -> None:
    said = {"record_id": "chat-1", "model": "m@4", "signature": "tidegate1.x"}
    path = drop(tmp_path / "d.jsonl", {**CHAT, **said}, {**CHAT, "signature": "x" * 513})
    (kept,) = stored(tmp_path, run(tmp_path, path, defaults={**DEFAULTS, "consent": True}))
    assert (kept["id"], kept["model"], kept["signature"]) == tuple(said.values())
    assert reasons(tmp_path) == ["signature: String should have at most 512 characters"]
