"""Batch norms: learned (``BatchNorm2d``), or frozen with the statistics of the pretrained weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

if TYPE_CHECKING:
    from detect.models.builder import Detector

# frozen: all batch norms are FrozenBatchNorm2d; frozen_backbone: those of the backbone only; batch: none.
NORMS = ("frozen", "frozen_backbone", "batch")


def set_norms(model: Detector, norm: str, eps: float) -> None:
    """Freeze the batch norms that ``norm`` (one of NORMS) names and set the eps of all batch norms, in place."""
    if norm != "batch":
        freeze_norms(model if norm == "frozen" else model.backbone.body)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | FrozenBatchNorm2d):
            module.eps = eps


def freeze_norms(module: nn.Module) -> None:
    """Replace every BatchNorm2d inside ``module`` by a FrozenBatchNorm2d with the same values, in place."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            kind = _FrozenBatchNormWithActivation if len(list(child.children())) else FrozenBatchNorm2d
            frozen = kind(child.num_features, eps=child.eps)
            for inner_name, inner in child.named_children():
                frozen.add_module(inner_name, inner)
            frozen.load_state_dict({k: v for k, v in child.state_dict().items() if k != "num_batches_tracked"})
            setattr(module, name, frozen)
        else:
            freeze_norms(child)


class _FrozenBatchNormWithActivation(FrozenBatchNorm2d):
    """Frozen counterpart of timm's BatchNormAct2d, which applies dropout and an activation after the norm."""

    def forward(self, x: Tensor) -> Tensor:
        x = super().forward(x)
        for module in self.children():
            x = module(x)
        return x
