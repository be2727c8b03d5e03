"""Random feature maps, and comparison of tensors and gradients."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

import torch
from torch import Tensor, nn

MAP_IMAGE_HW = (150, 220)


def feature_maps(memory_format: torch.memory_format, images: int = 3) -> OrderedDict[str, Tensor]:
    """Return five FPN levels of six channels, of images of MAP_IMAGE_HW padded to 160x224 pixels."""
    generator = torch.Generator().manual_seed(0)
    sides = ((40, 56), (20, 28), (10, 14), (5, 7), (3, 4))
    maps = [torch.randn(images, 6, *hw, generator=generator).to(memory_format=memory_format) for hw in sides]
    return OrderedDict((name, one.requires_grad_()) for name, one in zip("0123p", maps, strict=True))


def gradients(module: nn.Module) -> dict[str, Tensor]:
    """Return copies of the gradients of all parameters that have one."""
    return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}


def assert_close(actual: Mapping[str, Tensor], expected: Mapping[str, Tensor], tolerance: float = 1e-4) -> None:
    """Assert equal tensors up to ``tolerance`` times the largest absolute value of each."""
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        scale = float(value.detach().abs().max()) + 1e-6
        assert (actual[name] - value).abs().max() <= tolerance * scale, name
