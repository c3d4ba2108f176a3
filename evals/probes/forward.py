"""Log-probabilities of many short spans of tokens, in few forward passes.

Rows are sorted by length and padded on the right, which a causal model never looks at. The
vocabulary head runs only from the first position at which any row of a pass is scored.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tidegate.evals.harness import Subject
from tidegate.evals.prefix import prefix_tokens
from tidegate.evals.probes.probe import Given
from tidegate.evals.probes.rows import text_ids
from tidegate.evals.samples import Unusable
from tidegate.gates.types import Progress

if TYPE_CHECKING:
    import torch

ANSWER_TOKENS = 4096  # prompts and answers; no logits but the last are held
PASS_TOKENS = 1024  # padding included; float32 logits of all of them are 200 MB at 49k words


class Span(NamedTuple):
    """Tokens that are scored, after tokens that are only read (one at least)."""

    context: tuple[int, ...]
    tokens: tuple[int, ...]

    @property
    def length(self) -> int:
        return len(self.context) + len(self.tokens)


class Scored(NamedTuple):
    """For each token of a span: its log-probability in nats, and whether it is the likeliest."""

    logprobs: tuple[float, ...]
    greedy: tuple[bool, ...]


def score(given: Given, subject: Subject, spans: Sequence[Span], stage: str) -> list[Scored]:
    """Every span by itself, in its order. Raises Unusable for one that the model cannot read."""
    import torch

    room = longest(subject)
    for span in spans:
        if not span.context or not span.tokens:
            raise Unusable("a span without context or without tokens cannot be scored")
        if span.length > room:
            raise Unusable(f"a span has {span.length} tokens, the model reads {room}")
    found: dict[int, Scored] = {}
    with torch.inference_mode():
        for numbers in passes([span.length for span in spans]):
            rows = [spans[i] for i in numbers]
            first = min(len(row.context) for row in rows) - 1
            logits = forward(subject, [row.context + row.tokens for row in rows], first)
            for i, row, own in zip(numbers, rows, logits, strict=True):
                begin = len(row.context) - 1 - first
                found[i] = _scored(own[begin : begin + len(row.tokens)], row.tokens)
            given.spent.tokens += sum(row.length for row in rows)
            given.progress(Progress(stage, len(found), len(spans), "spans"))
    return [found[i] for i in range(len(spans))]


def totals(
    given: Given, subject: Subject, spans: Sequence[Span], stage: str
) -> list[tuple[float, bool]]:
    """Of each span its log-likelihood in nats, and whether greedy decoding says it.

    For spans that share their contexts: what is shared is computed once (evals/scorer.py).
    """
    from tidegate.evals.scorer import Request

    before, done = subject.scorer.forwarded, 0

    def scored(requests: int) -> None:
        nonlocal done
        done += requests
        given.progress(Progress(stage, done, len(spans), "spans"))

    subject.scorer.scored = scored
    room = longest(subject)
    requests: list[Request] = [
        (None, list(span.context[-(room - len(span.tokens)) :]), list(span.tokens))
        for span in spans
    ]
    found = subject.scorer._loglikelihood_tokens(requests)
    given.spent.tokens += subject.scorer.forwarded - before
    return [(float(value), bool(greedy)) for value, greedy in found]


def greedy(
    given: Given,
    subject: Subject,
    prompts: Sequence[tuple[int, ...]],
    most: int,
    stage: str,
) -> list[tuple[int, ...]]:
    """What the model says to each prompt if it always takes the likeliest token: `most` tokens.

    Padded on the left; what stands behind the end of an answer is cut off.
    """
    import torch

    model: Any = subject.model
    end = subject.tokenizer.eos_token_id
    found: dict[int, tuple[int, ...]] = {}
    with torch.inference_mode():
        for numbers in passes([len(prompt) + most for prompt in prompts], ANSWER_TOKENS):
            width = max(len(prompts[i]) for i in numbers)
            ids = torch.full((len(numbers), width), end, dtype=torch.long)
            mask = torch.zeros_like(ids)
            for row, i in enumerate(numbers):
                ids[row, width - len(prompts[i]) :] = torch.tensor(prompts[i])
                mask[row, width - len(prompts[i]) :] = 1
            out = model.generate(
                input_ids=ids.to(model.device),
                attention_mask=mask.to(model.device),
                max_new_tokens=most,
                do_sample=False,
                pad_token_id=end,
            )
            for i, said in zip(numbers, out[:, width:].tolist(), strict=True):
                found[i] = tuple(said[: said.index(end)] if end in said else said)
            given.spent.tokens += sum(len(prompts[i]) + len(found[i]) for i in numbers)
            given.progress(Progress(stage, len(found), len(prompts), "answers"))
    return [found[i] for i in range(len(prompts))]


def sampled(
    given: Given, subject: Subject, prompt: tuple[int, ...], count: int, most: int, stage: str
) -> list[tuple[int, ...]]:
    """`count` continuations of one prompt by sampling at temperature 1, by the update's seed.

    The whole distribution is sampled from (no top-k, no nucleus); up to `most` tokens each.
    """
    import torch

    model: Any = subject.model
    end = subject.tokenizer.eos_token_id
    found: list[tuple[int, ...]] = []
    with torch.inference_mode(), torch.random.fork_rng():
        torch.manual_seed(given.seed)
        for numbers in passes([len(prompt) + most] * count, ANSWER_TOKENS):
            ids = torch.tensor([prompt] * len(numbers), device=model.device)
            out = model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=most,
                do_sample=True,
                temperature=1.0,
                top_k=0,
                top_p=1.0,
                pad_token_id=end,
            )
            for said in out[:, len(prompt) :].tolist():
                found.append(tuple(said[: said.index(end)] if end in said else said))
            given.spent.tokens += out.numel()
            given.progress(Progress(stage, len(found), count, "texts"))
    given.spent.asked += 1
    return found


def after(context: tuple[int, ...], before: str, text: str, tokenizer: Any) -> Span:
    """The tokens of `text` where it stands behind `before`, which a tokenizer may join to it."""
    lead, whole = text_ids(tokenizer, before), text_ids(tokenizer, before + text)
    same = 0
    while same < min(len(lead), len(whole) - 1) and lead[same] == whole[same]:
        same += 1
    return Span(context + whole[:same], whole[same:])


def longest(subject: Subject) -> int:
    """Tokens that the model reads at once, behind a cartridge if it has one."""
    model: Any = subject.model
    return int(model.config.max_position_embeddings) - prefix_tokens(model)


def passes(lengths: Sequence[int], tokens: int = PASS_TOKENS) -> Iterator[list[int]]:
    """Numbers of rows that go through the model together: alike in length, few in tokens."""
    group: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        if group and lengths[i] * (len(group) + 1) > tokens:
            yield group
            group = []
        group.append(i)
    if group:
        yield group


def forward(subject: Subject, rows: Sequence[Sequence[int]], first: int) -> "torch.Tensor":
    """Logits (rows, positions from `first` on, vocabulary) in float32."""
    import torch

    model: Any = subject.model
    width = max(map(len, rows))
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    mask = torch.zeros(len(rows), width, dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        mask[i, : len(row)] = 1
    logits: torch.Tensor = model(
        input_ids=ids.to(model.device),
        attention_mask=mask.to(model.device),
        logits_to_keep=torch.arange(first, width, device=model.device),
        use_cache=False,
    ).logits
    return logits.float()


def _scored(logits: "torch.Tensor", tokens: Sequence[int]) -> Scored:
    import torch

    targets = torch.tensor(tokens, device=logits.device)
    chosen = logits.gather(1, targets[:, None])[:, 0] - logits.logsumexp(-1)
    greedy = logits.argmax(-1) == targets
    return Scored(tuple(chosen.double().tolist()), tuple(greedy.tolist()))
