"""Undocumented classes, functions and attributes of torchvision and torch that this package builds on.

They carry no promise of stability. If a release renames one, importing this module raises one clear UsageError that
names the supported versions, instead of an ImportError or AttributeError somewhere else.
"""

# ruff: noqa: F401 - other modules import these names from here

from __future__ import annotations

import torch
import torchvision
from torchvision.models.detection import FCOS, RetinaNet
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign

from detect.errors import UsageError

SUPPORTED = "torchvision 0.21 or later (tested up to 0.29) with torch 2.6 or later"


def _unsupported_versions(missing: str) -> UsageError:
    """Return the error for installed versions of torch and torchvision that lack a name; ``missing`` says which."""
    return UsageError(
        f"torchvision {torchvision.__version__} with torch {torch.__version__} is not supported ({missing}); "
        f"install {SUPPORTED}"
    )


try:
    from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm  # base class of all learned batch norms
    from torchvision.models._utils import IntermediateLayerGetter
    from torchvision.models.detection._utils import BoxCoder, BoxLinearCoder
    from torchvision.models.detection._utils import _topk_min as topk_min  # also correct in a traced graph
    from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
    from torchvision.models.detection.backbone_utils import BackboneWithFPN
    from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
    from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
    from torchvision.models.detection.image_list import ImageList
    from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
    from torchvision.models.detection.roi_heads import RoIHeads, expand_boxes, keypointrcnn_inference
    from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead, concat_box_prediction_layers
    from torchvision.models.detection.ssd import SSD
    from torchvision.models.detection.transform import GeneralizedRCNNTransform, resize_boxes, resize_keypoints
    from torchvision.models.resnet import BasicBlock, Bottleneck
    from torchvision.ops.feature_pyramid_network import LastLevelMaxPool
    from torchvision.ops.poolers import _setup_scales as setup_scales
except ImportError as error:
    raise _unsupported_versions(" ".join(str(error).split())) from error

# Class -> its methods and attributes that this package calls, reads, writes or overrides.
ATTRIBUTES: dict[type, tuple[str, ...]] = {
    AnchorGenerator: ("aspect_ratios", "grid_anchors", "num_anchors_per_location", "sizes"),
    BackboneWithFPN: ("body",),
    BasicBlock: ("conv1", "bn1", "conv2", "bn2"),
    Bottleneck: ("conv1", "bn1", "conv2", "bn2", "conv3", "bn3"),
    BoxCoder: ("decode", "decode_single", "encode_single"),
    BoxLinearCoder: ("decode",),
    DefaultBoxGenerator: ("aspect_ratios", "clip", "scales", "steps"),
    FCOS: (
        "anchor_generator", "backbone", "box_coder", "detections_per_img", "head", "nms_thresh", "score_thresh",
        "topk_candidates", "transform",
    ),
    FastRCNNPredictor: ("cls_score", "bbox_pred"),
    FeaturePyramidNetwork: ("layer_blocks",),
    GeneralizedRCNN: ("backbone", "rpn", "roi_heads", "transform"),
    GeneralizedRCNNTransform: (
        "batch_images", "fixed_size", "image_mean", "image_std", "max_size", "min_size", "normalize", "postprocess",
        "resize", "size_divisible",
    ),
    ImageList: ("image_sizes",),
    IntermediateLayerGetter: ("return_layers",),
    MultiScaleRoIAlign: (
        "canonical_level", "canonical_scale", "featmap_names", "map_levels", "output_size", "sampling_ratio", "scales",
    ),
    RPNHead: ("bbox_pred", "cls_logits", "conv"),
    RegionProposalNetwork: (
        "_post_nms_top_n", "_pre_nms_top_n", "anchor_generator", "assign_targets_to_anchors", "box_coder",
        "fg_bg_sampler", "filter_proposals", "head", "nms_thresh", "post_nms_top_n", "pre_nms_top_n",
    ),
    RetinaNet: (
        "anchor_generator", "backbone", "box_coder", "detections_per_img", "head", "nms_thresh", "score_thresh",
        "topk_candidates", "transform",
    ),
    RoIHeads: (
        "box_coder", "box_head", "box_predictor", "box_roi_pool", "detections_per_img", "keypoint_head",
        "keypoint_predictor", "keypoint_roi_pool", "mask_head", "mask_predictor", "mask_roi_pool", "nms_thresh",
        "score_thresh",
    ),
    SSD: (
        "anchor_generator", "backbone", "box_coder", "detections_per_img", "head", "nms_thresh", "score_thresh",
        "topk_candidates", "transform",
    ),
}  # fmt: skip
for _class, _names in ATTRIBUTES.items():
    # The names in the code of __init__ include the attributes that it sets.
    _known = {*dir(_class), *_class.__init__.__code__.co_names}  # type: ignore[misc]
    for _name in _names:
        if _name not in _known:
            raise _unsupported_versions(f"{_class.__module__}.{_class.__name__} has no attribute '{_name}'")
