"""Does the stored candidate load in a fresh process, and is it the one that was measured?

A second process loads base and adapter from their files, answers a few prompts greedily and
returns the logits of the last position; the first compares them with its own. A corrupted
file, weights that are not numbers, and an adapter that only worked in the process that made
it are all found here. What it cannot show: speed under load, or other hardware.

Run by itself: `python -m tidegate.flows.serving < request.json`.
"""

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tidegate.evals.prefix import prefix_tokens
from tidegate.gates.digest import digest_bytes
from tidegate.gates.types import Broken, Measurement
from tidegate.training.base import Base, load_model

PROMPTS = (
    "What is the capital of France?",
    "Write one sentence about rain.",
    "How do I boil an egg?",
    "Name three colours.",
    "My parcel has not arrived. What should I do?",
    "What is seven plus five?",
)
NEW_TOKENS = 16
NAMES = (
    "non_finite_weights",
    "reload_difference",
    "empty_share",
    "unended_share",
    "seconds_per_token",
    "megabytes",
    "template_changed",
    "odd_files",
    "delta_norm",
)
SUFFIXES = (".safetensors", ".json", ".md")  # what an adapter's folder may hold: no pickle


def probe_serving(
    base: Base, adapter: Path, model: Any, tokenizer: Any, *, timeout: float = 300
) -> tuple[tuple[Measurement, ...], tuple[Broken, ...]]:
    """Measure `serves.*`: against `model`, the one whose evaluation is the evidence.

    A process that crashes, hangs or says nothing leaves broken measurements, never good ones.
    """
    request = {"base": base.model_dump(mode="json"), "adapter": str(adapter)}
    command = [sys.executable, "-m", "tidegate.flows.serving"]
    try:
        done = subprocess.run(
            command,
            input=json.dumps(request),
            capture_output=True,
            text=True,
            timeout=timeout,
            env=os.environ.copy(),
            check=False,
        )
    except subprocess.TimeoutExpired:
        return (), _broken(f"the serving process gave no answer within {timeout:.0f} s")
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return (), _broken(f"the serving process ended with {done.returncode}: {last[:300]}")
    try:
        theirs = json.loads(done.stdout)
        if theirs["non_finite_weights"]:
            return _not_finite(int(theirs["non_finite_weights"]))
        difference = _largest_difference(theirs["logits"], _logits(model, tokenizer))
        values = {
            "non_finite_weights": float(theirs["non_finite_weights"]),
            "reload_difference": difference,
            "empty_share": float(theirs["empty"]) / len(PROMPTS),
            "unended_share": float(theirs["unended"]) / len(PROMPTS),
            "seconds_per_token": float(theirs["seconds_per_token"]),
            "megabytes": sum(f.stat().st_size for f in adapter.iterdir()) / 1e6,
            "template_changed": float(theirs["template"] != _template(tokenizer)),
            "odd_files": float(sum(f.suffix not in SUFFIXES for f in adapter.iterdir())),
            "delta_norm": float(theirs["delta_norm"]),
        }
        measured = tuple(
            Measurement(name=f"serves.{name}", value=value, n=len(PROMPTS))
            for name, value in values.items()
        )
    except (ValueError, KeyError, TypeError) as error:
        return (), _broken(f"the serving process gave no usable numbers: {error}")
    return measured, ()


def _not_finite(weights: int) -> tuple[tuple[Measurement, ...], tuple[Broken, ...]]:
    """Such a model was not asked anything: its answers are no numbers either."""
    counted = Measurement(name=f"serves.{NAMES[0]}", value=float(weights), n=len(PROMPTS))
    return (counted,), _broken(f"{weights} weights are not finite numbers", NAMES[1:])


def _broken(reason: str, names: Sequence[str] = NAMES) -> tuple[Broken, ...]:
    return tuple(Broken(name=f"serves.{name}", reason=reason) for name in names)


def _largest_difference(theirs: list[list[float]], ours: list[list[float]]) -> float:
    pairs = [
        (a, b)
        for row, other in zip(theirs, ours, strict=True)
        for a, b in zip(row, other, strict=True)
    ]
    return max(abs(a - b) for a, b in pairs)


def _logits(model: Any, tokenizer: Any) -> list[list[float]]:
    """The ten first logits after each prompt: enough to tell two models apart."""
    import torch

    rows = []
    with torch.inference_mode():
        for prompt in PROMPTS:
            ids = _ids(tokenizer, prompt, model.device)
            rows.append(model(input_ids=ids).logits[0, -1, :10].float().tolist())
    return rows


def _ids(tokenizer: Any, prompt: str, device: Any) -> Any:
    chat = [{"role": "user", "content": prompt}]
    encoded = tokenizer.apply_chat_template(
        chat, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    return encoded["input_ids"].to(device)


def _answer() -> None:
    import torch

    request = json.load(sys.stdin)
    base = Base.model_validate_json(json.dumps(request["base"]))
    model, tokenizer = load_model(base, Path(request["adapter"]))
    bad = sum(int((~torch.isfinite(p)).sum()) for p in model.parameters())
    if bad:
        json.dump({"non_finite_weights": bad}, sys.stdout)
        return
    empty = unended = tokens = 0
    seconds = 0.0
    with torch.inference_mode():
        for prompt in PROMPTS:
            ids = _ids(tokenizer, prompt, model.device)
            began = time.perf_counter()
            out = model.generate(input_ids=ids, max_new_tokens=NEW_TOKENS, do_sample=False)
            seconds += time.perf_counter() - began
            new = out[0, ids.shape[1] :]
            tokens += len(new)
            unended += len(new) == NEW_TOKENS and int(new[-1]) != tokenizer.eos_token_id
            empty += not tokenizer.decode(new, skip_special_tokens=True).strip()
    answer = {
        "non_finite_weights": 0,
        "empty": empty,
        "unended": unended,
        "seconds_per_token": seconds / tokens,
        "template": _template(tokenizer),
        "delta_norm": _delta_norm(model, tokenizer),
        "logits": _logits(model, tokenizer),
    }
    json.dump(answer, sys.stdout, allow_nan=False)


def _template(tokenizer: Any) -> str:
    return digest_bytes(str(tokenizer.chat_template).encode())


def _delta_norm(model: Any, tokenizer: Any) -> float:
    """How much the adapter adds to the layers that it is on: a share of their Frobenius norm.

    A cartridge adds to no layer. Of one it is by how much its keys and values are larger or
    smaller, a token, than those that the base makes of the prompts: a share of these.
    """
    if prefix_tokens(model):
        cartridge = _size(model.get_prompt(1))
        base, own = model.get_base_model(), []
        for prompt in PROMPTS:
            ids = _ids(tokenizer, prompt, model.device)
            own.append(_size(base(input_ids=ids, use_cache=True).past_key_values))
        usual = math.fsum(own) / len(own)
        return abs(cartridge - usual) / usual
    added = before = 0.0
    for layer in model.modules():
        if not hasattr(layer, "get_delta_weight"):
            continue
        for name in layer.active_adapters:
            added += float(layer.get_delta_weight(name).float().square().sum())
        before += float(layer.get_base_layer().weight.float().square().sum())
    return math.sqrt(added / before)


def _size(cache: Any) -> float:
    """Root of the mean, over tokens, of the squared norm of all keys and values of a token."""
    squares = sum(
        float(t.float().square().sum())
        for layer in cache.layers
        for t in (layer.keys, layer.values)
    )
    return math.sqrt(squares / cache.get_seq_length())


if __name__ == "__main__":
    _answer()
