"""The adapter: what training changes, and how it is kept."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file
from torch import Tensor, nn

from tidegate.gates.digest import canonical
from tidegate.gates.types import Digest
from tidegate.training.adapter_digest import CONFIG, WEIGHTS, adapter_digest, normalised
from tidegate.training.base import Base, BaseError, refuse_pickled_adapter
from tidegate.training.cartridge import continue_cartridge, new_cartridge, settings_of
from tidegate.training.frozen import decoder_layers
from tidegate.training.kinds import made_by, refuse_other_kind
from tidegate.training.recipe import Recipe
from tidegate.training.self_study import beginning


def begin_adapter(
    model: Any, tokenizer: Any, recipe: Recipe, parent: Path | None, new: Path
) -> PeftModel:
    """The champion's adapter to be trained on, or a fresh one of the kind that the method makes.

    new: the batch, with whose text a fresh cartridge begins. Raises BaseError if the champion's
    is of another kind or shape, and TrainingError if a cartridge cannot begin.
    """
    refuse_other_kind(recipe, parent)
    if made_by(recipe) == "lora":
        return continue_adapter(model, recipe, parent) if parent else new_adapter(model, recipe)
    if parent:
        return continue_cartridge(model, recipe, parent)
    ids = beginning(new, tokenizer, recipe, settings_of(recipe))
    return new_cartridge(model, recipe, ids)


def new_adapter(model: Any, recipe: Recipe) -> PeftModel:
    """A fresh LoRA on the modules that the recipe lists; it changes nothing until trained.

    Raises BaseError if the base has no such modules, or none above the frozen layers.
    """
    layers = adapted_layers(model, recipe)
    # peft passes over a target that is in no layer once layers are chosen: lm_head, say.
    scopes = [decoder_layers(model)[n] for n in layers] if layers else [model]
    linear = {
        name.rsplit(".", 1)[-1]
        for scope in scopes
        for name, module in scope.named_modules()
        if isinstance(module, nn.Linear)
    }
    rank, alpha, targets = recipe.lora
    unknown = sorted(set(targets) - linear)
    if unknown:
        raise BaseError(
            f"the base has no linear layer named {unknown[0]!r}; the recipe's targets can be "
            f"{', '.join(sorted(linear))}"
        )
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type, unused-ignore]  # peft says int
        target_modules=list(targets),
        layers_to_transform=layers,
        lora_dropout=0.0,
        bias="none",
        task_type="CAUSAL_LM",
    )
    torch.manual_seed(recipe.seed)
    return get_peft_model(model, config)  # type: ignore[return-value, unused-ignore]


def continue_adapter(model: Any, recipe: Recipe, parent: Path) -> PeftModel:
    """The champion's adapter, to be trained on. Raises BaseError if its shape is another."""
    refuse_pickled_adapter(parent)
    found = json.loads((parent / CONFIG).read_bytes())
    rank, alpha, targets = recipe.lora
    shape = (found.get("peft_type"), found.get("r"), found.get("lora_alpha"))
    if shape != ("LORA", rank, alpha):
        raise BaseError(
            f"{parent}: the champion's adapter is {shape[0]} of rank {shape[1]} and alpha "
            f"{shape[2]}, the recipe asks for LORA of rank {rank} and alpha "
            f"{alpha:g}; a continued adapter keeps its shape"
        )
    if sorted(found.get("target_modules") or ()) != sorted(targets):
        raise BaseError(
            f"{parent}: the champion's adapter is on {found.get('target_modules')}, the "
            f"recipe's targets are {list(targets)}; a continued adapter keeps its shape"
        )
    layers = adapted_layers(model, recipe)
    if found.get("layers_to_transform") != layers:
        raise BaseError(
            f"{parent}: the champion's adapter is on "
            f"{_said(found.get('layers_to_transform'))} of the base, and the recipe's "
            f"frozen_layers {recipe.frozen_layers or 0} leaves {_said(layers)}; a continued "
            "adapter keeps its shape"
        )
    return PeftModel.from_pretrained(model, str(parent), is_trainable=True)


def adapted_layers(model: Any, recipe: Recipe) -> list[int] | None:
    """The numbers of the layers that the recipe adapts; None: all. Raises BaseError if none."""
    if recipe.frozen_layers is None:
        return None
    count = len(decoder_layers(model))
    if recipe.frozen_layers >= count:
        raise BaseError(
            f"the base has {count} layers, and frozen_layers {recipe.frozen_layers} leaves none "
            f"to adapt; it can be at most {count - 1}"
        )
    return list(range(recipe.frozen_layers, count))


def _said(layers: object) -> str:
    if not layers:
        return "all layers"
    if isinstance(layers, list):
        return f"layers {layers[0]} to {layers[-1]}"
    return f"layer {layers}"


def save_adapter(model: PeftModel, base: Base, folder: Path) -> Digest:
    """Write the adapter so that equal weights are equal bytes; returns its digest.

    The folder appears whole or not at all, and loads with peft's from_pretrained.
    """
    # Embeddings are not trained; peft would look the base up by name to make sure.
    weights = get_peft_model_state_dict(model, save_embedding_layers=False)
    config = normalised(model.peft_config["default"].to_dict())
    config |= {"base_model_name_or_path": base.name, "inference_mode": True}
    return write_adapter(weights, config, folder)


def write_adapter(
    weights: Mapping[str, Tensor], config: Mapping[str, Any], folder: Path
) -> Digest:
    """Write an adapter's two files; the folder appears whole or not at all."""
    partial = folder.with_name(f"{folder.name}.partial-{os.getpid()}")
    for old in folder.parent.glob(f"{folder.name}.partial-*"):  # of whoever was killed here
        shutil.rmtree(old, ignore_errors=True)
    partial.mkdir(parents=True)
    save_file(
        {name: weights[name].detach().cpu().contiguous() for name in sorted(weights)},
        partial / WEIGHTS,
        metadata={"format": "pt"},
    )
    (partial / CONFIG).write_bytes(canonical(config))
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)
    return adapter_digest(folder)
