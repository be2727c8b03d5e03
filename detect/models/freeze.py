"""Freezing the early stages of a backbone for fine-tuning."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from detect.errors import UsageError

if TYPE_CHECKING:
    from detect.models.builder import Detector


def can_freeze_stages(model: Detector) -> bool:
    """Return whether the first stage of the model's backbone can be frozen without freezing most of the backbone."""
    try:
        _parameters_of_stages(model, 1)
    except UsageError:
        return False
    return True


def freeze_stages(model: Detector, stages: int) -> None:
    """Exclude the first ``stages`` stages of the backbone from training (``requires_grad=False``), in place.

    Early stages respond to edges and colors, which a small dataset cannot improve, and their backward pass is the
    most expensive. Stage n consists of the parameters that the backbone's first n feature maps depend on.

    Raises UsageError if the backbone has fewer stages, and if the first map already depends on a large part of the
    backbone, as in HRNet.
    """
    if stages:
        for parameter in _parameters_of_stages(model, stages):
            parameter.requires_grad_(False)


def _parameters_of_stages(model: Detector, stages: int) -> list[nn.Parameter]:
    """Return the trainable parameters of the backbone's first ``stages`` stages. Raises UsageError, see
    ``freeze_stages``."""
    body = getattr(model.backbone, "body", None)
    if body is None:
        raise UsageError(f"`freeze={stages}`: this model's backbone has no stages that can be frozen separately")
    parameters = [p for p in body.parameters() if p.requires_grad]
    was_training = body.training
    image = torch.zeros(1, 3, 96, 160, device=parameters[0].device)
    maps = list(body.eval()(image).values())
    body.train(was_training)
    if not 0 < stages <= len(maps):
        raise UsageError(f"`freeze={stages}`: this model's backbone has {len(maps)} stages")
    fraction = sum(p.numel() for p in _needed_by(maps[:1], parameters)) / sum(p.numel() for p in parameters)
    # At most an eighth in other networks whose first map has stride 4.
    if fraction > 0.3 and maps[0].shape[-1] == image.shape[-1] // 4 and stages < len(maps):
        raise UsageError(
            f"`freeze={stages}`: the first feature map of this backbone depends on {fraction:.0%} of its parameters, "
            f"so its stages cannot be frozen separately; use `freeze=0`, or `freeze={len(maps)}` for all of it"
        )
    return _needed_by(maps[:stages], parameters)


def _needed_by(maps: list[Tensor], parameters: list[nn.Parameter]) -> list[nn.Parameter]:
    """Return the ``parameters`` that ``maps`` were computed from."""
    total = torch.stack([one.sum() for one in maps]).sum()
    if not total.requires_grad:  # all of these parameters are frozen already
        return []
    gradients = torch.autograd.grad(total, parameters, allow_unused=True, retain_graph=True)
    return [p for p, gradient in zip(parameters, gradients, strict=True) if gradient is not None]
