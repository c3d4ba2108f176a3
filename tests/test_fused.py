"""An adapted layer in one go gives what peft gives: outputs, gradients, and what is left to peft."""

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from tidegate.training.fused import fuse

pytestmark = pytest.mark.usefixtures("one_thread")


class Two(nn.Module):
    """A layer with a bias before one without."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(12, 20), nn.Linear(20, 7, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = self.second(torch.tanh(self.first(x)))
        return made


def adapted(kind: torch.dtype = torch.float32) -> Any:
    torch.manual_seed(0)
    config = LoraConfig(
        r=3, lora_alpha=5, target_modules=["first", "second"], init_lora_weights=False
    )
    return get_peft_model(Two().to(kind), config)  # type: ignore[arg-type]


def results(model: Any, x: torch.Tensor) -> list[torch.Tensor]:
    """The output, and the gradients of the input and of each factor."""
    given = x.clone().requires_grad_()
    made = model(given)
    torch.autograd.backward(made.square().sum())
    grads = [p.grad for p in model.parameters() if p.requires_grad]
    return [made.detach(), given.grad, *grads]  # type: ignore[list-item]


@pytest.mark.parametrize("shape", [(5, 12), (2, 5, 12), (1, 1, 12)])
def test_outputs_and_gradients_are_those_of_peft(shape: tuple[int, ...]) -> None:
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(1))
    plain, fused = adapted(), adapted()
    fuse(fused)
    for one, other in zip(results(plain, x), results(fused, x), strict=True):
        assert bool(one.any()) and one.shape == other.shape
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-5)


def test_a_factor_that_is_not_trained_gets_no_gradient() -> None:
    model = adapted()
    fuse(model)
    first = model.base_model.model.first
    first.lora_A["default"].weight.requires_grad_(False)
    torch.autograd.backward(model(torch.ones(2, 12)).sum())
    assert first.lora_A["default"].weight.grad is None
    assert first.lora_B["default"].weight.grad is not None


def test_an_adapter_of_another_type_than_its_base_is_left_to_peft() -> None:
    model, plain = adapted(torch.bfloat16), adapted()
    assert model.base_model.model.first.lora_A["default"].weight.dtype == torch.float32
    fuse(model)
    fuse(plain)
    assert "forward" not in vars(model.base_model.model.first)
    assert "forward" in vars(plain.base_model.model.first)
