"""A model as it is measured: in float32 a LoRA is added into the base's weights.

Three products a layer in place of one cost a tenth to a sixth of a forward pass, and the sum
is the same but for the last digits (1e-6). In a shorter format adding would round the update
away, so there the adapter stays beside the base, as it does in serving. A cartridge has nothing
to add. That the files say the same unmerged in a fresh process is what `serves` asks.
"""

from typing import Any

import torch


def merged(model: Any) -> Any:
    """The same model for reading only; what was handed in is used up where there is a LoRA."""
    config = getattr(model, "active_peft_config", None)
    if config is None or config.is_prompt_learning or model.dtype != torch.float32:
        return model
    return model.merge_and_unload().eval()
