"""How far a model has moved on text that no update is about, token by token.

    kl    mean over tokens of KL(origin || model), whole vocabulary, nats a token
    nll   mean negative log-likelihood of the text under the model, nats a token

KL says that the model changed, nll whether for the worse. Both are of plain passages without
a chat template, which is not what anchors are made of.

Cannot see: drift in chats, in other languages, or beyond the first tokens of a passage.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from pydantic import Field
from torch.nn import functional

from tidegate.gates.types import Noun

TOKENS = 128  # of each passage


class Drift(Noun):
    """One number a passage, in the order given."""

    kl: tuple[float, ...] = Field(description="to the origin, nats a token")
    nll: tuple[float, ...] = Field(description="nats a token")


@torch.inference_mode()
def drift(
    model: Any,
    tokenizer: Any,
    texts: Sequence[str],
    origin: Callable[[], AbstractContextManager[Any]],
    *,
    tokens: int = TOKENS,
) -> Drift:
    """Measure a model against what it is inside `origin()`, such as `model.disable_adapter`.

    Raises ValueError for a passage of fewer than two tokens.
    """
    kl, nll = [], []
    for text in texts:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"][:tokens]
        if len(ids) < 2:
            raise ValueError("a passage has fewer than two tokens, so nothing is predicted")
        given = torch.tensor([ids], device=model.device)
        here = _logp(model, given)
        with origin():
            there = _logp(model, given)
        apart = functional.kl_div(here, there, reduction="none", log_target=True).sum(-1)
        kl.append(float(apart.double().mean()))
        nll.append(float(functional.nll_loss(here.double(), given[0, 1:])))
    return Drift(kl=tuple(kl), nll=tuple(nll))


def _logp(model: Any, given: torch.Tensor) -> torch.Tensor:
    """Log-probabilities (tokens - 1, vocabulary) of what comes after each token."""
    logits = model(input_ids=given, use_cache=False).logits[0, :-1]
    return functional.log_softmax(logits.float(), dim=-1)
