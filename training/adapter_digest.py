"""The digest that names an adapter, and its two files. It needs neither torch nor peft."""

import json
from pathlib import Path
from typing import Any

from tidegate.gates.digest import canonical, digest_bytes, digest_file, digest_json
from tidegate.gates.types import Digest
from tidegate.training.base import refuse_pickled_adapter

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
# Say where and with what the adapter was made, not what it is.
INCIDENTAL = ("base_model_name_or_path", "peft_version", "revision", "inference_mode")


def adapter_digest(folder: Path) -> Digest:
    """Name an adapter by its weights and by what its configuration says about them."""
    refuse_pickled_adapter(folder)
    config = normalised(json.loads((folder / CONFIG).read_bytes()))
    return digest_json(
        {WEIGHTS: digest_file(folder / WEIGHTS), CONFIG: digest_bytes(canonical(config))}
    )


def normalised(config: dict[str, Any]) -> dict[str, Any]:
    """Without what differs between machines, and with sets in one order."""
    kept = {key: value for key, value in config.items() if key not in INCIDENTAL}
    return {key: _plain(value) for key, value in kept.items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(_plain(inner) for inner in value)
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value if isinstance(value, bool | int | float | str) else str(value)
