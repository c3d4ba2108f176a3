"""A model that is made to write, and to read again what was written."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tidegate.gates.types import Progress, Report
from tidegate.training.anchors import AT_ONCE, grouped, sample
from tidegate.training.losses import TopK, top_k
from tidegate.training.packing import Item, concatenate, logits_at
from tidegate.training.recipe import Rollouts
from tidegate.training.rows import Row


@dataclass(frozen=True)
class Writer:
    """The parent, or the base, and how it is made to write."""

    model: Any
    tokenizer: Any
    settings: Rollouts
    report: Report

    def answers(
        self, prompts: Sequence[tuple[int, ...]], stage: str
    ) -> Iterator[tuple[int, ...]]:
        """One answer a prompt, in their order, with the token that ends it if it came to an end."""
        done = 0
        for group in grouped(prompts, AT_ONCE):
            for ids in sample(self.model, self.tokenizer, group, self.settings):
                yield tuple(ids)
            done += len(group)
            self.report(Progress(stage, done, len(prompts), "answers"))

    def reads(self, prompt: tuple[int, ...], answer: tuple[int, ...], k: int) -> TopK:
        """The k tokens that it finds likeliest at each place of an answer to the prompt."""
        row = Row("read", (*prompt, *answer), len(prompt))
        logits = logits_at(self.model, concatenate([Item("read", row)]))
        return TopK(*(column.cpu() for column in top_k(logits, min(k, logits.shape[-1] - 1))))
