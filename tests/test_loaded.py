"""A model as it is measured: one set of weights, the same answers."""

from pathlib import Path
from typing import Any

import torch

from tests.test_methods_by_hand import adapted_model
from tests.tiny import tiny_base
from tidegate.flows.loaded import load_measured
from tidegate.training.adapter import save_adapter
from tidegate.training.base import Base, find_base, load_model

IDS = torch.tensor([[5, 9, 2, 7, 7, 30, 4]])


def made(folder: Path) -> tuple[Base, Path]:
    base = find_base(str(tiny_base(folder / "tiny")), folder)
    save_adapter(adapted_model(base, 3), base, folder / "adapter")
    return base, folder / "adapter"


def said(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        logits: torch.Tensor = model(input_ids=IDS).logits
    return logits.clone()


def test_a_lora_is_added_into_the_weights_and_answers_alike(tmp_path: Path) -> None:
    base, adapter = made(tmp_path)
    merged, _ = load_measured(base, adapter)
    beside, _ = load_model(base, adapter)
    assert not any("lora" in name for name, _ in merged.named_modules())
    assert any("lora" in name for name, _ in beside.named_modules())
    torch.testing.assert_close(said(merged), said(beside), rtol=1e-4, atol=1e-5)
    bare = said(load_measured(base, None)[0])
    assert (said(merged) - bare).abs().max() > 1e-2


def test_twice_is_the_same_to_the_bit(tmp_path: Path) -> None:
    base, adapter = made(tmp_path)
    first, second = (said(load_measured(base, adapter)[0]) for _ in range(2))
    assert torch.equal(first, second)
