"""`tidegate ask`: one question to a version that serves, with a context in its prompt or learned.

    alias → version that may serve → base and adapter → [throw-away adapter] → answer

Writes nothing but the cache (the base unpacked, the adapter fetched, as every command does): no
question, context, answer or throw-away adapter is kept, in files, registry or ledger. What an
answer says passed no gate; the version that gave it did.
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from pydantic import Field

from tidegate.flows.asking.prompt import make_prompt, read_context, room_of
from tidegate.flows.asking.version import base_of, version_to_ask
from tidegate.flows.home import Home
from tidegate.flows.usage import UsageError
from tidegate.gates.types import Digest, Noun, Progress, Report, ignore_progress
from tidegate.training.base import load_model
from tidegate.training.test_time import LABEL, Learned, TestTime, adapted
from tidegate.training.trained import TrainingError

GenerationConfig: Any = transformers.GenerationConfig  # it has no types


@dataclass(frozen=True)
class TestTimeAsked:
    """A throw-away adapter is wanted; window: the context's last tokens that stay in the
    prompt too, None for as many as there is room for."""

    __test__ = False

    how: TestTime
    window: int | None = None


class ThrownAway(Noun):
    """What the adapter was that this answer was made with, and that is gone."""

    label: str
    seed: int
    rate: float
    learned: Learned


class Answer(Noun):
    """An answer, and which model gave it from what."""

    model: str
    version: str
    alias: str
    base: Digest
    adapter: Digest | None
    statement: Digest
    answer: str
    ended: bool = Field(description="the model came to its end; else the answer was cut")
    tokens: int = Field(description="of the answer")
    prompt_tokens: int
    context_tokens: int
    context_shown: int = Field(description="of them, in the prompt")
    test_time: ThrownAway | None


def ask(
    home: Home,
    model: str,
    question: str,
    *,
    alias: str = "champion",
    context: Path | None = None,
    test_time: TestTimeAsked | None = None,
    tokens: int = 256,
    base: Path | None = None,
    tracking_uri: str | None = None,
    progress: Report = ignore_progress,
) -> Answer:
    """The greedy answer of a version that may serve. tokens: of the answer, at most.

    Raises UsageError, BaseError, RegistryError, Unreconciled and BrokenLedger, each with what
    would do; without an answer then.
    """
    if test_time is not None and context is None:
        raise UsageError("--ttt learns a context before the answer; give one with --context")
    text = read_context(context) if context else None
    found, said = version_to_ask(home, model, alias, tracking_uri)
    stands_on = base_of(home, found, said, base, progress)
    progress(Progress("load the model", 0, None, ""))
    network, tokenizer = load_model(stands_on, found.adapter)
    room = max(0, room_of(network, tokenizer) - tokens)
    window = None
    if test_time is not None:
        window = room if test_time.window is None else test_time.window
    prompt = make_prompt(tokenizer, question, text, room, window)
    thrown = None
    try:
        with contextlib.ExitStack() as stack:
            carrier = network
            if test_time is not None:
                how = test_time.how
                carrier, learned = stack.enter_context(
                    adapted(network, prompt.context, how, progress)
                )
                thrown = ThrownAway(label=LABEL, seed=how.seed, rate=how.rate, learned=learned)
            made, ended = greedy(carrier, tokenizer, prompt.ids, tokens, progress)
    except TrainingError as no:
        raise UsageError(str(no)) from no
    return Answer(
        model=model,
        version=found.version,
        alias=alias,
        base=stands_on.digest,
        adapter=found.candidate.adapter,
        statement=said.statement,
        answer=str(tokenizer.decode(made, skip_special_tokens=True)).strip(),
        ended=ended,
        tokens=len(made),
        prompt_tokens=len(prompt.ids),
        context_tokens=len(prompt.context),
        context_shown=prompt.shown,
        test_time=thrown,
    )


def greedy(
    model: Any, tokenizer: Any, ids: tuple[int, ...], most: int, progress: Report
) -> tuple[list[int], bool]:
    """The likeliest next token again and again, and whether the model ended by itself.

    Raises UsageError if the model's numbers are not finite: then no token is the likeliest.
    """
    end = model.generation_config.eos_token_id
    end = tokenizer.eos_token_id if end is None else end
    ends = set(end) if isinstance(end, list) else {end}
    asked = torch.tensor([ids], device=model.device)
    with torch.inference_mode():
        out = model.generate(
            input_ids=asked,
            attention_mask=torch.ones_like(asked),
            logits_processor=[_Watch(len(ids), most, progress)],
            # Of the rest (a repetition penalty, say) the base's own settings hold, as they do
            # where it serves.
            generation_config=GenerationConfig(
                do_sample=False,
                max_new_tokens=most,
                eos_token_id=end,
                pad_token_id=next(iter(ends)),
            ),
        )
    made = out[0, len(ids) :].tolist()
    return made, bool(made) and made[-1] in ends


class _Watch(transformers.LogitsProcessor):  # type: ignore[misc]  # it has no types
    """Sees every step of an answer: reports it, and stops where there is no likeliest token."""

    def __init__(self, before: int, most: int, progress: Report) -> None:
        self.before, self.most, self.progress = before, most, progress

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        # A token that must not come has minus infinity; a model that is broken has NaN.
        if not bool(torch.isfinite(scores.amax())):
            raise UsageError(
                "the model's numbers are not finite, so there is no answer. With --ttt, lower "
                "--rate; without, look at the version: tidegate reconcile"
            )
        done = input_ids.shape[1] - self.before + 1
        self.progress(Progress("answer", done, self.most, "tokens"))
        return scores
