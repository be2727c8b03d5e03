"""Batch norms: learning, or frozen with the statistics that came with the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

if TYPE_CHECKING:
    from detect.models.builder import Detector

# All batch norms frozen (FrozenBatchNorm2d), those of the backbone alone, or none (BatchNorm2d).
NORMS = ("frozen", "frozen_backbone", "batch")


def set_norms(model: Detector, norm: str, eps: float) -> None:
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
            kind = _FrozenNormAndMore if len(list(child.children())) else FrozenBatchNorm2d
            frozen = kind(child.num_features, eps=child.eps)
            for inner, more in child.named_children():
                frozen.add_module(inner, more)
            frozen.load_state_dict({k: v for k, v in child.state_dict().items() if k != "num_batches_tracked"})
            setattr(module, name, frozen)
        else:
            freeze_norms(child)


class _FrozenNormAndMore(FrozenBatchNorm2d):
    """A norm that does more: timm's BatchNormAct2d also drops out and activates, by modules of its own. Without them
    a frozen backbone would be one without activations."""

    def forward(self, x: Tensor) -> Tensor:
        x = super().forward(x)
        for module in self.children():
            x = module(x)
        return x
