"""Where training stands, so that a killed run goes on and ends with the very same weights.

Weights and optimizer moments are safetensors; nothing is pickled. A checkpoint counts only
if its inputs are those of the run and its files are whole; else training starts over, which
costs time and changes nothing.
"""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tidegate.gates.digest import canonical, digest_file

STATE = "state.json"
FILES = ("weights.safetensors", "optimizer.safetensors")


@dataclass(frozen=True)
class Standing:
    """What has been done: steps taken, and whatever the loop wants back with them."""

    step: int
    notes: dict[str, Any]


def trained_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def save(
    work: Path,
    inputs: str,
    standing: Standing,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
) -> None:
    """Write checkpoint-<step>, which appears whole or not at all, and drop older ones."""
    named = trained_parameters(model)
    partial = work / f"checkpoint.partial-{os.getpid()}"
    for old in work.glob("checkpoint.partial-*"):  # of whoever was killed here
        shutil.rmtree(old, ignore_errors=True)
    partial.mkdir(parents=True)
    weights = {name: p.detach().cpu().contiguous() for name, p in named.items()}
    moments = {
        f"{name}|{key}": value.detach().cpu().contiguous()
        for name, parameter in named.items()
        for key, value in optimizer.state[parameter].items()
    }
    for file, tensors in zip(FILES, (weights, moments), strict=True):
        save_file(tensors, partial / file)
    state = {
        "inputs": inputs,
        "step": standing.step,
        "notes": standing.notes,
        "files": {file: digest_file(partial / file) for file in FILES},
    }
    (partial / STATE).write_bytes(canonical(state))
    folder = work / f"checkpoint-{standing.step:08d}"
    # One of that name is of another run, or broken: resume() would have gone on from it.
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)
    for older in found(work):
        if older != folder:
            shutil.rmtree(older)


def resume(
    work: Path, inputs: str, model: nn.Module, optimizer: torch.optim.Optimizer
) -> Standing | None:
    """Put model and optimizer where the newest usable checkpoint stood; None without one."""
    for folder in found(work):
        state = _whole(folder)
        if state is None or state["inputs"] != inputs:
            continue
        named = trained_parameters(model)
        weights, moments = (load_file(folder / file) for file in FILES)
        with torch.no_grad():
            for name, parameter in named.items():
                parameter.copy_(weights[name])
        _restore(optimizer, named, moments)
        return Standing(state["step"], state["notes"])
    return None


def found(work: Path) -> list[Path]:
    """Checkpoints, newest first."""
    return sorted(work.glob("checkpoint-*"), reverse=True)


def _whole(folder: Path) -> dict[str, Any] | None:
    try:
        state: dict[str, Any] = json.loads((folder / STATE).read_bytes())
        digests = {file: digest_file(folder / file) for file in FILES}
    except (OSError, ValueError):
        return None
    return state if state["files"] == digests else None


def _restore(
    optimizer: torch.optim.Optimizer, named: dict[str, nn.Parameter], moments: dict[str, Tensor]
) -> None:
    numbers = {p: i for i, p in enumerate(optimizer.param_groups[0]["params"])}
    state: dict[int, dict[str, Tensor]] = {}
    for joined, value in moments.items():
        name, key = joined.rsplit("|", 1)
        state.setdefault(numbers[named[name]], {})[key] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
