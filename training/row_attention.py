"""Attention of packed rows, a row at a time: no product of two rows is computed to be masked.

Over a pack of T tokens attention costs T x T; over its rows, the sum of their own squares. The
model makes its masks itself, for each kind of its layers, and each row gets its own block of
them. So what a row sees within itself stays the model's, and what lies between rows is not read.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, split_with_sizes
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "tidegate_row_by_row"
_lengths: ContextVar[tuple[int, ...]] = ContextVar("lengths", default=())


@contextmanager
def row_by_row(model: Any, position_ids: Tensor) -> Iterator[None]:
    """Inside, the model's attention keeps to the rows of this pack, whose positions begin at 0.

    On a CPU, and for a model that was loaded with torch's own attention; elsewhere nothing
    changes. A GPU prefers one large product to many small ones.
    """
    starts = (position_ids[0] == 0).nonzero().flatten().tolist()
    config = getattr(model, "config", None)
    own = getattr(config, "_attn_implementation", None) == "sdpa"
    if config is None or not own or len(starts) < 2 or model.device.type != "cpu":
        yield
        return
    ends = [*starts[1:], position_ids.shape[1]]
    lengths = tuple(end - start for start, end in zip(starts, ends, strict=True))
    with _rows_of(config, lengths):
        yield


@contextmanager
def _rows_of(config: Any, lengths: tuple[int, ...]) -> Iterator[None]:
    known = _lengths.set(lengths)
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = "sdpa"
        _lengths.reset(known)


def again(config: Any) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """For torch's checkpoint: what a layer runs in, now and when backward runs it again.

    By then `row_by_row` has ended, and the layer must do what it did.
    """
    lengths = _lengths.get()
    return nullcontext(), _rows_of(config, lengths) if lengths else nullcontext()


def _attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, **how: Any
) -> tuple[Tensor, None]:
    """As transformers' own: query, key, value (1, heads, T, width); returns (1, T, heads, width)."""
    lengths = _lengths.get()
    # Of a row that stands alone, or behind keys of no row (a cartridge).
    if attention_mask is None or {query.shape[2], key.shape[2]} != {sum(lengths)}:
        alone: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, **how
        )
        return alone
    made, at = [], 0
    parts = (split_with_sizes(x, lengths, 2) for x in (query, key, value))
    for q, k, v in zip(*parts, strict=True):
        end = at + q.shape[2]
        mask = attention_mask[..., at:end, at:end]
        # torch has a faster way for what is causal and nothing else.
        causal = torch.equal(mask, torch.ones_like(mask).tril())
        made.append(sdpa_attention_forward(module, q, k, v, None if causal else mask, **how)[0])
        at = end
    return torch.cat(made, dim=1), None


AttentionInterface.register(NAME, _attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
