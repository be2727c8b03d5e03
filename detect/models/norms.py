"""Batch norms: learning, or frozen with the statistics that came with the weights."""

from __future__ import annotations

from torch import nn
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.ops import FrozenBatchNorm2d

# All batch norms frozen (FrozenBatchNorm2d), those of the trunk alone, or none (BatchNorm2d).
NORMS = ("frozen", "frozen_trunk", "batch")


def set_norms(model: GeneralizedRCNN, norm: str, eps: float) -> None:
    """Freeze the batch norms that ``norm`` (in NORMS) says, and set the eps of all, in place."""
    if norm != "batch":
        freeze_norms(model if norm == "frozen" else model.backbone.body)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | FrozenBatchNorm2d):
            module.eps = eps


def freeze_norms(module: nn.Module) -> None:
    """Replace every BatchNorm2d below ``module`` by FrozenBatchNorm2d with the same numbers, in place."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            frozen = FrozenBatchNorm2d(child.num_features, eps=child.eps)
            frozen.load_state_dict({k: v for k, v in child.state_dict().items() if k != "num_batches_tracked"})
            setattr(module, name, frozen)
        else:
            freeze_norms(child)
