"""Replace parts of torchvision's detectors by equivalents that are faster on a CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign

from detect.models.cpu.conv import BandedConv3x3
from detect.models.cpu.roi_align import VectorizedRoIAlign
from detect.models.cpu.rpn import SampledRPN
from detect.models.torchvision_internals import RegionProposalNetwork

if TYPE_CHECKING:
    from detect.models.builder import Detector

_EQUIVALENTS: dict[type[nn.Module], type[nn.Module]] = {
    MultiScaleRoIAlign: VectorizedRoIAlign,
    RegionProposalNetwork: SampledRPN,
}


def optimize_for_cpu(model: Detector) -> None:
    """Replace RoIAlign, the RPN and the FPN's 3x3 convolutions by faster equivalents, in place.

    Results change by rounding only, the names of parameters not at all, and other devices still run torchvision's
    code. Weights and feature maps become channels-last: most convolutions are faster with it (depthwise ones by a
    factor of three), and ``VectorizedRoIAlign`` reads such maps without a copy.
    """
    for module in model.modules():
        if equivalent := _EQUIVALENTS.get(type(module)):
            module.__class__ = equivalent  # a subclass that adds methods only
        elif isinstance(module, FeaturePyramidNetwork):
            for block in module.layer_blocks:
                for conv in block.modules():
                    if type(conv) is nn.Conv2d and conv.kernel_size == (3, 3):
                        conv.__class__ = BandedConv3x3
    model.to(memory_format=torch.channels_last)
