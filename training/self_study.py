"""Self-study: the bare base reads the batch, is asked about it, and answers; a cartridge learns that.

    records → exchanges → parts of at most corpus_tokens, each a conversation of earlier turns
      for each part   its own records' questions, and some that the base asks itself about it
      each question   answered by the base with the part before it; then read again, for what the
                      base finds likely at each token of its answer

Cartridges (arXiv 2506.06266). There all questions are the model's own. Here the batch's own come
first, because they are what will be asked and a small base asks poor ones: `asked: 0` leaves those
out. What was accepted as an answer is in the context, and never a target itself. Exchanges are
turns, because a small base that reads them as one text answers in the form of that text.

A question is answered with one part before it, that of its own record: what follows from two parts
together is not learned. No data gate has read what the base writes here, and an answer may repeat
another record of the part.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tidegate.training.recipe import Cartridge, Recipe
from tidegate.training.rows import (
    Row,
    ask,
    control_tokens,
    encode,
    read_records,
    render,
    to_row,
)
from tidegate.training.trained import TrainingError
from tidegate.training.writer import Writer

ASK = "Write one question that is answered above. Write the question alone."
Turn = dict[str, str]


@dataclass(frozen=True)
class Exchange:
    """A record as the base reads it, and how it is asked.

    turns: of users and assistants, from the first of a user to the accepted answer. asked: the
    messages up to the question; None where it has none, or no room for an answer.
    """

    id: str
    turns: tuple[Turn, ...]
    asked: tuple[Turn, ...] | None
    prompt: tuple[int, ...]


class Asked(NamedTuple):
    """A question as tokens: as it is asked in service, and with its part of the batch before it.

    shown is None where the base has no room for both.
    """

    id: str
    prompt: tuple[int, ...]
    shown: tuple[int, ...] | None


def studied(
    writer: Writer, recipe: Recipe, settings: Cartridge, new: Path
) -> tuple[list[Row], Counter[str], Counter[str]]:
    """What is learned, what was written, and what was not by reason. Raises RowsError."""
    exchanges, skipped = read_exchanges(new, writer.tokenizer, recipe, settings)
    parts, too_long = parts_of(exchanges, writer.tokenizer, settings.corpus_tokens)
    own = [
        Asked(one.id, one.prompt, _shown(writer, settings, part, one.asked))
        for part in parts
        for one in part
        if one.asked is not None
    ]
    made, empty = _asked_itself(writer, recipe, settings, parts)
    asked = [*own, *made]
    tries = [
        (question, shown)
        for question in asked
        if (shown := question.shown) is not None
        for _ in range(settings.per_row)
    ]
    rows: list[Row] = []
    answers = writer.answers([shown for _, shown in tries], "self-study")
    for n, ((question, shown), answer) in enumerate(zip(tries, answers, strict=True)):
        teacher = writer.reads(shown, answer, settings.top_k)
        ids = (*question.prompt, *answer)
        name = f"{question.id}.{n % settings.per_row}"
        rows.append(Row(name, ids, len(question.prompt), teacher))
    missed = Counter(
        {
            "longer than corpus_tokens": too_long,
            "asked itself nothing": empty,
            "no room for the corpus": sum(question.shown is None for question in asked),
        }
    )
    written = Counter(
        {
            "parts of the corpus": len(parts),
            "questions": len(own),
            "asked itself": len(made),
            "answers": len(tries),
            "kept": len(rows),
        }
    )
    return rows, written, skipped + missed


def read_exchanges(
    path: Path, tokenizer: Any, recipe: Recipe, settings: Cartridge
) -> tuple[list[Exchange], Counter[str]]:
    """The records that can be learned from, in the file's order, and why some are not asked.

    What read_rows leaves out is left out here and counted there. Raises RowsError.
    """
    control = control_tokens(tokenizer)
    found: list[Exchange] = []
    skipped: Counter[str] = Counter()
    for record in read_records(path):
        if record["learn"] == "negative":
            continue
        made = to_row(record, tokenizer, recipe.max_tokens, control)
        if isinstance(made, str):
            continue
        row, cut = made
        prompt = row.ids[: row.start]
        asked = [{"role": m["role"], "content": m["content"]} for m in record["messages"][:-1]]
        if not asked or asked[-1]["role"] != "user":
            skipped["no question of a user before the answer"] += 1
            continue
        said = [m for m in asked if m["role"] != "system"]
        first = next(n for n, m in enumerate(said) if m["role"] == "user")
        turns = (*said[first:], {"role": "assistant", "content": record["response"]})
        # A prompt that lost its beginning is not the question that the answer belongs to.
        fits = not cut and len(prompt) + settings.max_new_tokens <= recipe.max_tokens
        if not fits:
            skipped["no room for another answer"] += 1
        found.append(Exchange(record["id"], turns, tuple(asked) if fits else None, prompt))
    return found, skipped


def parts_of(
    exchanges: Sequence[Exchange], tokenizer: Any, most: int
) -> tuple[list[list[Exchange]], int]:
    """The exchanges in their order, cut so that no part has more tokens; and how many do alone."""
    parts: list[list[Exchange]] = []
    too_long = 0
    for exchange in exchanges:
        if parts and _fits([*parts[-1], exchange], tokenizer, most):
            parts[-1].append(exchange)
        elif _fits([exchange], tokenizer, most):
            parts.append([exchange])
        else:
            too_long += 1
    return parts, too_long


def beginning(path: Path, tokenizer: Any, recipe: Recipe, settings: Cartridge) -> list[int]:
    """The tokens of the first part. Raises TrainingError if no exchange fits into one."""
    exchanges, _ = read_exchanges(path, tokenizer, recipe, settings)
    parts, _ = parts_of(exchanges, tokenizer, settings.corpus_tokens)
    if not parts:
        raise TrainingError(
            f"{path}: no exchange is of at most {settings.corpus_tokens} tokens; give more "
            "cartridge.corpus_tokens"
        )
    return encode(str(render(corpus(parts[0]), tokenizer)), tokenizer)


def corpus(part: Sequence[Exchange]) -> list[Turn]:
    return [turn for exchange in part for turn in exchange.turns]


def _fits(part: Sequence[Exchange], tokenizer: Any, most: int) -> bool:
    text = render(corpus(part), tokenizer)
    return text is not None and len(encode(text, tokenizer)) <= most


def _asked_itself(
    writer: Writer, recipe: Recipe, settings: Cartridge, parts: Sequence[Sequence[Exchange]]
) -> tuple[list[Asked], int]:
    """Questions that the base writes about each part, and how many came to nothing."""
    wanted = [
        (number, part, shown)
        for number, part in enumerate(parts)
        if (shown := _shown(writer, settings, part, [{"role": "user", "content": ASK}]))
        for _ in range(settings.asked)
    ]
    control = control_tokens(writer.tokenizer)
    made: list[Asked] = []
    answers = writer.answers([shown for _, _, shown in wanted], "ask itself")
    for n, ((number, part, _), ids) in enumerate(zip(wanted, answers, strict=True)):
        lines = writer.tokenizer.decode(ids, skip_special_tokens=True).strip().splitlines()
        text = lines[0].strip() if lines else ""
        messages = [{"role": "user", "content": text}]
        asked = ask(messages, writer.tokenizer)
        # Spelled out, a control token would be read as structure when it is asked.
        if not text or asked is None or any(token in text for token in control):
            continue
        prompt = tuple(encode(asked, writer.tokenizer))
        if len(prompt) + settings.max_new_tokens <= recipe.max_tokens:
            shown = _shown(writer, settings, part, messages)
            name = f"asked.{number}.{n % settings.asked}"
            made.append(Asked(name, prompt, shown))
    return made, len(wanted) - len(made)


def _shown(
    writer: Writer, settings: Cartridge, part: Sequence[Exchange], asked: Sequence[Turn]
) -> tuple[int, ...] | None:
    """The prompt with the part before it; None where the base has no room for both."""
    system = [turn for turn in asked if turn["role"] == "system"]
    own = [turn for turn in asked if turn["role"] != "system"]
    text = ask([*system, *corpus(part), *own], writer.tokenizer)
    if text is None:
        return None
    ids = tuple(encode(text, writer.tokenizer))
    room = getattr(writer.model.config.get_text_config(), "max_position_embeddings", None)
    fits = room is None or len(ids) + settings.max_new_tokens <= room
    return ids if fits else None
