"""OpenAI fine-tuning rows: {"messages": [...]} and nothing that says who, when or whether.

`source`, `user`, `time` and `consent` come from the caller's defaults, which say them of all
rows at once. `id` is the digest of the messages, unless the row says `record_id`; it may also
say `model` and `signature`, which together are what a gateway signed. Other keys of the row
are not read.
"""

from collections.abc import Mapping
from typing import Any

from tidegate.flows.intake.connectors.rows import Unreadable
from tidegate.gates.digest import digest_json

OWN = {"time", "user", "consent"}
ROLES = {"developer": "system"}  # the newer name for the same voice


def to_record(row: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The row as a Record's JSON. Raises Unreadable."""
    refuse_own(row)
    messages = messages_of(row.get("messages"))
    last = row["messages"][-1]
    if last.get("weight", 1) == 0:
        raise Unreadable("the last message has weight 0: it is not to be learned")
    signed = {name: row[name] for name in ("model", "signature") if name in row}
    name = row.get("record_id") or digest_of(messages)
    return {**defaults, **signed, "id": name, "messages": messages}


def refuse_own(row: Mapping[str, Any]) -> None:
    """A row that says for itself who, when or whether must not be overruled by a default."""
    if said := row.keys() & OWN:
        raise Unreadable(f"has {', '.join(sorted(said))}, but not the form of a record")


def digest_of(messages: list[dict[str, str]]) -> str:
    try:
        return digest_json(messages)
    except ValueError as no:  # a lone surrogate has no UTF-8
        raise Unreadable("half of a surrogate pair in a message") from no


def messages_of(value: Any) -> list[dict[str, str]]:
    """Messages in OpenAI's form as roles and plain text. Raises Unreadable.

    Content in parts is joined if every part is text. Tool calls and pictures have no text
    that could be learned or checked, so a message with one makes the row unreadable.
    """
    if not isinstance(value, list) or not value:
        raise Unreadable("messages: not a list with a message in it")
    return [_message(i, message) for i, message in enumerate(value)]


def _message(i: int, message: Any) -> dict[str, str]:
    if not isinstance(message, dict):
        raise Unreadable(f"messages.{i}: not an object")
    if message.get("tool_calls") or message.get("function_call"):
        raise Unreadable(f"messages.{i}: calls a tool; only text can be learned")
    role, content = message.get("role"), message.get("content")
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, dict) else None for part in content]
        texts = [text for text in parts if isinstance(text, str)]
        if not texts or len(texts) < len(parts):
            raise Unreadable(f"messages.{i}.content: a part is not text")
        content = "".join(texts)
    if not isinstance(role, str) or not isinstance(content, str):
        raise Unreadable(f"messages.{i}: role and content must be text")
    return {"role": ROLES.get(role, role), "content": content}
