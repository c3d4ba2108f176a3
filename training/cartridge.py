"""A cartridge: p keys and values a layer that stand before every prompt, trained themselves.

No weight of the base is changed. Compressed KV caches (Cartridges, arXiv 2506.06266) by peft's
`CartridgeConfig`: one tensor of shape (p, layers * 2 * key and value heads * head size). It begins
as what the base computes for the first p tokens of the batch's text; the first token is frozen,
because models use early tokens as attention sinks.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import (
    CartridgeConfig,
    PeftModel,
    get_peft_model,
    initialize_kv_prefix_from_past_key_values,
)
from safetensors.torch import load_file

from tidegate.training.adapter_digest import CONFIG, WEIGHTS
from tidegate.training.base import BaseError, refuse_pickled_adapter
from tidegate.training.recipe import Cartridge, Recipe
from tidegate.training.trained import TrainingError

FROZEN = 1  # tokens
VALUES = "prompt_embeddings"  # peft's name of the one tensor


def settings_of(recipe: Recipe) -> Cartridge:
    """The recipe's section. Raises TrainingError without one."""
    if recipe.cartridge is None:
        raise TrainingError(f"the recipe {recipe.recipe!r} has no cartridge section")
    return recipe.cartridge


def new_cartridge(model: Any, recipe: Recipe, ids: Sequence[int]) -> PeftModel:
    """Begun as what the base computes for the first of these tokens.

    Raises TrainingError for too few of them, or if no prompt fits behind the cartridge.
    """
    tokens = settings_of(recipe).tokens
    if len(ids) < tokens:
        raise TrainingError(
            f"the batch begins with a part of {len(ids)} tokens, and a cartridge of {tokens} "
            "begins as its first ones: ask for fewer cartridge.tokens or give more corpus_tokens"
        )
    # Not peft's initialize_kv_prefix_from_text: it would begin a text a second time.
    with torch.no_grad():
        read = torch.tensor([ids[:tokens]], device=model.device)
        cache = model(input_ids=read, use_cache=True).past_key_values
    made = _untrained(model, recipe, tokens)
    initialize_kv_prefix_from_past_key_values(made, past_key_values=cache)
    return made


def continue_cartridge(model: Any, recipe: Recipe, parent: Path) -> PeftModel:
    """The champion's cartridge, to be trained on. Raises BaseError if its shape is another."""
    refuse_pickled_adapter(parent)
    found = json.loads((parent / CONFIG).read_bytes())
    wanted = settings_of(recipe).tokens
    shape = (found.get("num_virtual_tokens"), found.get("num_frozen_tokens"))
    if shape != (wanted, FROZEN):
        raise BaseError(
            f"{parent}: the champion's cartridge has {shape[0]} tokens, {shape[1]} of them frozen; "
            f"the recipe asks for {wanted} and {FROZEN}. A continued cartridge keeps its shape"
        )
    # Not by from_pretrained: it loads no cartridge that is to be trained.
    made: Any = _untrained(model, recipe, wanted)
    values = load_file(parent / WEIGHTS)[VALUES]
    made.prompt_encoder[made.active_adapter].load_prompt_embeddings(values)
    continued: PeftModel = made
    return continued


def _untrained(model: Any, recipe: Recipe, tokens: int) -> PeftModel:
    """With values by chance, which the caller replaces."""
    room = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if room is not None and tokens + recipe.max_tokens > room:
        raise TrainingError(
            f"a cartridge of {tokens} tokens and rows of {recipe.max_tokens} are more than the "
            f"{room} that the base was made for; lower cartridge.tokens or max_tokens"
        )
    config = CartridgeConfig(
        task_type="CAUSAL_LM", num_virtual_tokens=tokens, num_frozen_tokens=FROZEN
    )
    torch.manual_seed(recipe.seed)
    return get_peft_model(model, config)  # type: ignore[return-value, unused-ignore]
