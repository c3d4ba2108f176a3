"""A cartridge, as whoever runs a model meets it: keys and values that stand before every prompt."""

from typing import Any


def prefix_tokens(model: Any) -> int:
    """Tokens that stand before every prompt and take room from it; 0 for a base or a LoRA."""
    config = getattr(model, "active_peft_config", None)
    if config is None or not config.is_prompt_learning:
        return 0
    return int(config.num_virtual_tokens)
