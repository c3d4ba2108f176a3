"""The prompt: a context and a question as one message of a user, and what of it there is room for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidegate.evals.prefix import prefix_tokens
from tidegate.flows.usage import UsageError
from tidegate.training.rows import ask, control_tokens, encode

MOST_BYTES = 1 << 20  # of a context
UNLIMITED = 1 << 24  # tokenizers give absurd numbers where they know none


@dataclass(frozen=True)
class Prompt:
    """ids: what the model reads. context: the whole context's tokens; of them, `shown` are read."""

    ids: tuple[int, ...]
    context: tuple[int, ...]
    shown: int


def read_context(path: Path) -> str:
    """The text of a file. Raises UsageError for one that is no text, empty or too long."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as no:
        raise UsageError(f"{path}: cannot be read: {no.strerror}") from None
    if len(content) > MOST_BYTES:
        raise UsageError(
            f"{path}: is longer than {MOST_BYTES:,} bytes; give the part that matters"
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as no:
        raise UsageError(
            f"{path}: is not UTF-8 at byte {no.start}; convert it to plain text"
        ) from None
    if not text.strip():
        raise UsageError(f"{path}: holds no text; a context has some")
    return text


def room_of(model: Any, tokenizer: Any) -> int:
    """Tokens that the model was made for, prompt and answer together, behind a cartridge if any."""
    known = (
        getattr(model.config.get_text_config(), "max_position_embeddings", None),
        tokenizer.model_max_length,
    )
    made_for = min(
        (int(n) for n in known if n is not None and 0 < n < UNLIMITED), default=UNLIMITED
    )
    return made_for - prefix_tokens(model)


def make_prompt(
    tokenizer: Any, question: str, context: str | None, room: int, window: int | None
) -> Prompt:
    """The prompt, in `room` tokens at most.

    window: how many of the context's last tokens stay in the prompt, or as many as there is
    room for; None: all of them, or UsageError. Raises UsageError too for a question without a
    word, and for texts with tokens that only the chat template may write.
    """
    if not question.strip():
        raise UsageError("there is no question; ask in words")
    for what, text in (("question", question), ("context", context or "")):
        _no_control(tokenizer, what, text)
    bare = _rendered(tokenizer, question)
    if len(bare) > room:
        raise UsageError(
            f"the question takes {len(bare)} tokens, and with the answer there is room for "
            f"{room}; ask more shortly, or for a shorter answer with --tokens"
        )
    if context is None:
        return Prompt(bare, (), 0)
    ids = tuple(encode(context, tokenizer))
    if window is None:
        whole = _rendered(tokenizer, f"{context}\n\n{question}")
        if len(whole) > room:
            raise UsageError(
                f"context and question take {len(whole)} tokens, and with the answer there is "
                f"room for {room}; shorten the context, or learn it first with --ttt"
            )
        return Prompt(whole, ids, len(ids))
    shown = min(window, len(ids), room - len(bare))
    while shown > 0:
        # A token can be a part of a character, so the text may begin with what is left of one.
        text = tokenizer.decode(ids[len(ids) - shown :]).lstrip("�")
        if shown == len(ids):
            text = context
        made = _rendered(tokenizer, f"{text}\n\n{question}")
        if len(made) <= room:
            return Prompt(made, ids, shown)
        shown -= len(made) - room
    return Prompt(bare, ids, 0)


def _rendered(tokenizer: Any, text: str) -> tuple[int, ...]:
    asked = ask([{"role": "user", "content": text}], tokenizer)
    if asked is None:
        raise UsageError("the base's chat template refuses a question of a user")
    return tuple(encode(asked, tokenizer))


def _no_control(tokenizer: Any, what: str, text: str) -> None:
    found = [token for token in control_tokens(tokenizer) if token in text]
    if found:
        raise UsageError(
            f"the {what} holds {found[0]!r}, with which a text could speak in another role's "
            "name; remove it"
        )
