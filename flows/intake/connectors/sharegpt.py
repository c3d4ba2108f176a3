"""ShareGPT rows: {"conversations": [{"from": "human", "value": ...}, ...]}.

As with OpenAI's fine-tuning rows, who, when and whether come from the caller's defaults. The
row's own `id` is not used: exports cut long conversations and give the pieces one id.
"""

from collections.abc import Mapping
from typing import Any

from tidegate.flows.intake.connectors.chat import digest_of, refuse_own
from tidegate.flows.intake.connectors.rows import Unreadable

ROLES = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "tool": "tool",
    "observation": "tool",
}


def to_record(row: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The row as a Record's JSON. Raises Unreadable."""
    refuse_own(row)
    turns = row.get("conversations")
    if not isinstance(turns, list) or not turns:
        raise Unreadable("conversations: not a list with a turn in it")
    messages = [_message(i, turn) for i, turn in enumerate(turns)]
    if isinstance(row.get("system"), str):
        messages.insert(0, {"role": "system", "content": row["system"]})
    return {**defaults, "id": digest_of(messages), "messages": messages}


def _message(i: int, turn: Any) -> dict[str, str]:
    if not isinstance(turn, dict):
        raise Unreadable(f"conversations.{i}: not an object")
    speaker, content = turn.get("from"), turn.get("value")
    if not isinstance(speaker, str) or speaker not in ROLES:
        raise Unreadable(f"conversations.{i}.from: none of {', '.join(ROLES)}")
    if not isinstance(content, str):
        raise Unreadable(f"conversations.{i}.value: not text")
    return {"role": ROLES[speaker], "content": content}
