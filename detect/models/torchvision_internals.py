"""Undocumented classes and functions of torchvision and torch that this package builds on, imported in one place.

They carry no promise of stability. If a release renames one, importing this module raises one clear UsageError that
names the supported versions, instead of an ImportError or AttributeError somewhere else.
"""

# ruff: noqa: F401 - other modules import these names from here

from __future__ import annotations

import torch
import torchvision

from detect.errors import UsageError

SUPPORTED = "torchvision 0.21 or later (tested up to 0.29) with torch 2.6 or later"


def _unsupported(missing: object) -> UsageError:
    """Return the error that names the installed versions, what they lack, and the supported versions."""
    return UsageError(
        f"torchvision {torchvision.__version__} with torch {torch.__version__} is not supported "
        f"({' '.join(str(missing).split())}); install {SUPPORTED}"
    )


try:
    from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm  # base class of all learned batch norms
    from torchvision.models._utils import IntermediateLayerGetter
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.backbone_utils import BackboneWithFPN
    from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
    from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
    from torchvision.models.detection.image_list import ImageList
    from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
    from torchvision.models.detection.roi_heads import expand_boxes
    from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead, concat_box_prediction_layers
    from torchvision.models.detection.ssd import SSD
    from torchvision.models.detection.transform import GeneralizedRCNNTransform, resize_boxes, resize_keypoints
    from torchvision.models.resnet import BasicBlock, Bottleneck
    from torchvision.ops.feature_pyramid_network import LastLevelMaxPool
except ImportError as error:
    raise _unsupported(error) from error

# Methods that subclasses in this package call or override.
_METHODS: dict[type, tuple[str, ...]] = {
    AnchorGenerator: ("grid_anchors",),
    GeneralizedRCNNTransform: ("normalize", "resize", "batch_images", "postprocess"),
    RegionProposalNetwork: ("filter_proposals", "assign_targets_to_anchors"),
}
for _class, _names in _METHODS.items():
    for _name in _names:
        if not hasattr(_class, _name):
            raise _unsupported(f"{_class.__module__}.{_class.__name__} has no method '{_name}'")
