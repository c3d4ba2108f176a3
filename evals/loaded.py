"""A model as it is measured: in float32 a LoRA is added into the base's weights.

Three products a layer in place of one cost a tenth to a sixth of a forward pass, and the sum
is the same but for the last digits (1e-6). In a shorter format adding would round the update
away, so there the adapter stays beside the base, as it does in serving. A cartridge has nothing
to add. That the files say the same unmerged in a fresh process is what `serves` asks.
"""

from pathlib import Path
from typing import Any

import torch

from tidegate.training.base import Base, load_model


def load_measured(base: Base, adapter: Path | None) -> tuple[Any, Any]:
    """Model and tokenizer in eval mode, the model for reading only. Raises BaseError."""
    model, tokenizer = load_model(base, adapter)
    if adapter is None or model.active_peft_config.is_prompt_learning:
        return model, tokenizer
    if model.dtype != torch.float32:
        return model, tokenizer
    return model.merge_and_unload().eval(), tokenizer
