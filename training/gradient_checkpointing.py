"""Gradient checkpointing: of each layer only its input is kept; backward computes the rest again.

Chen et al. 2016 (arXiv 1604.06174), by transformers' own switch and torch's checkpoint without
reentry. One more forward pass of each layer a step, for about one layer's activations instead of
all. The same operations on the same numbers, so the gradient is the same.

Two things are not as in a Trainer. transformers does it in training mode alone, in which a base
may also have dropout, which would make other weights: only the layers' own flags are set, and the
model is asked whether it still says the same. And what is computed again must keep to the rows of
its pack as the first time (`row_attention.again`).
"""

from typing import Any

import torch
from transformers.modeling_layers import GradientCheckpointingLayer

from tidegate.training.base import BaseError
from tidegate.training.packing import Item, concatenate, logits_at
from tidegate.training.row_attention import again
from tidegate.training.rows import Row


def checkpoint_gradients(model: Any, row: Row) -> None:
    """Let a model keep less from now on. row: any, to compare what the model says of it.

    Raises BaseError for a base that cannot do so, or says something else then.
    """
    base = model.get_base_model()
    layers = [one for one in base.modules() if isinstance(one, GradientCheckpointingLayer)]
    if not base.supports_gradient_checkpointing or not layers:
        raise BaseError(
            f"{type(base).__name__} has no gradient checkpointing in transformers; leave out "
            "gradient_checkpointing"
        )
    one = concatenate([Item("row", row)])
    with torch.no_grad():
        before = logits_at(model, one)
    base.activation_checkpointing_enable(
        {"use_reentrant": False, "context_fn": lambda: again(base.config)}
    )
    # It is for reentry; here it would send gradients through frozen layers, for nobody.
    base.disable_input_require_grads()
    for layer in layers:
        layer.training = True
    with torch.no_grad():
        after = logits_at(model, one)
    if not torch.equal(before, after):
        raise BaseError(
            f"{type(base).__name__} says something else with gradient checkpointing (dropout in "
            "its layers?); leave out gradient_checkpointing"
        )
