"""Build a torchvision detector from an Architecture."""

from __future__ import annotations

from typing import Any, TypeAlias

import torch
import torchvision
from torch import nn
from torchvision.models.detection import FCOS, FasterRCNN, MaskRCNN, RetinaNet
from torchvision.ops import MultiScaleRoIAlign

from detect.models.architecture import Architecture
from detect.models.backbones import build_backbone
from detect.models.cpu.optimize import optimize_for_cpu
from detect.models.norms import set_norms
from detect.models.torchvision_internals import (
    SSD,
    AnchorGenerator,
    BackboneWithFPN,
    DefaultBoxGenerator,
    FastRCNNPredictor,
    GeneralizedRCNN,
    LastLevelMaxPool,
    MaskRCNNHeads,
    MaskRCNNPredictor,
    TwoMLPHead,
    setup_scales,
)
from detect.models.transform import DetectorTransform
from detect.models.zoo import DETECTORS

Detector: TypeAlias = GeneralizedRCNN | RetinaNet | FCOS | SSD

# Several proposals belong to one object, so more detections need more proposals. torchvision takes 1000 for 100
# detections. Of 156 balloons that the included detector finds in 12 images, it found 145 in one image of all 12 with
# 10 proposals per detection, and 157 with 15 (300 detections).
_CANDIDATES_PER_DETECTION = 15


def build(architecture: Architecture, num_rows: int) -> Detector:
    """Return the model with random weights, in training mode.

    num_rows: number of classes plus one for background, i.e. rows of the classification layer.

    The model takes a list of images, float32 RGB [3, H, W] in 0..1 (at inference also uint8 in 0..255). In training it
    also takes torchvision's list of targets, does not resize, because the data loader does so, and returns a dict of
    losses. At inference it resizes, and returns one dict per image: boxes xyxy and keypoints in pixels of the original
    image, and masks as [N, 1, 28, 28] probabilities inside their boxes.
    """
    model = assemble(architecture, num_rows)
    model.transform = DetectorTransform(architecture)
    optimize_for_cpu(model)
    _set_roi_pooler_scales(model)
    return model


def outline(architecture: Architecture, num_rows: int) -> Detector:
    """Return the same model as ``build`` in evaluation mode, without weights: its parameters have only shapes.

    It gives the settings of the steps between the networks, see ``detect.models.prediction``.
    """
    with torch.device("meta"):
        model = build(architecture, num_rows).eval()
    owner: Any = model.rpn if isinstance(model, GeneralizedRCNN) else model
    old = owner.anchor_generator
    if isinstance(old, DefaultBoxGenerator):
        new: Any = DefaultBoxGenerator(old.aspect_ratios, scales=old.scales, steps=old.steps, clip=old.clip)
    else:
        new = AnchorGenerator(old.sizes, old.aspect_ratios)
    owner.anchor_generator = new
    return model


def assemble(architecture: Architecture, num_rows: int) -> Detector:
    """Return the same model as ``build``, made of torchvision's own parts only.

    Its transform is torchvision's, with torchvision's default sizes.
    """
    if architecture.model in DETECTORS:
        builder = getattr(torchvision.models.detection, DETECTORS[architecture.model].builder)
        model = builder(weights=None, weights_backbone=None, num_classes=num_rows)
        if architecture.max_proposals is not None:
            set_max_proposals(model, architecture.max_proposals)
    else:
        model = _build_on_backbone(architecture, num_rows)
    set_norms(model, architecture.norm, architecture.norm_eps)
    set_max_detections(model, architecture.max_detections)
    return model


@torch.no_grad()
def _set_roi_pooler_scales(model: Detector) -> None:
    """Set the strides of the feature maps in all RoI poolers.

    torchvision estimates them from the first image and keeps them. The estimate is wrong if that image is only a few
    pixels high, because the maps are those of the padded image.
    """
    poolers = [module for module in model.modules() if isinstance(module, MultiScaleRoIAlign)]
    if poolers:
        side = 128  # a multiple of every stride
        model.backbone.eval()
        maps = model.backbone(torch.zeros(1, 3, side, side))
        model.backbone.train()
        for pooler in poolers:
            used = [maps[name] for name in pooler.featmap_names if name in maps]
            sizes = pooler.canonical_scale, pooler.canonical_level
            with torch.device("cpu"):  # also in ``outline``
                pooler.scales, pooler.map_levels = setup_scales(used, [(side, side)], *sizes)


def _build_on_backbone(architecture: Architecture, num_rows: int) -> GeneralizedRCNN:
    a = architecture
    assert a.fpn_channels and a.box_head_channels and a.mask_head_channels  # set for all models on a backbone
    assert a.anchors and a.aspect_ratios and a.feature_layers
    backbone = build_backbone(a.model)
    channels = {stage.layer: stage.channels for stage in backbone.stages}
    fpn = BackboneWithFPN(
        nn.Identity(),
        return_layers={},
        in_channels_list=[channels[layer] for layer in a.feature_layers],
        out_channels=a.fpn_channels,
        extra_blocks=LastLevelMaxPool(),
    )
    fpn.body = backbone.body(a.feature_layers)  # set here, since timm's networks are not a sequence of layers
    maps = [str(i) for i in range(len(a.feature_layers))]
    arguments: dict[str, Any] = {
        "rpn_anchor_generator": AnchorGenerator(a.anchors, (a.aspect_ratios,) * len(a.anchors)),
        "rpn_post_nms_top_n_test": a.max_proposals,
        # With torchvision's 2000 per level NMS takes three times as long, and 98 % of the kept proposals are the same.
        "rpn_pre_nms_top_n_train": 1000,
        "rpn_post_nms_top_n_train": 1000,
        "box_batch_size_per_image": a.rois_per_image,
        "box_roi_pool": MultiScaleRoIAlign(maps, output_size=7, sampling_ratio=2),
        "box_head": TwoMLPHead(a.fpn_channels * 7**2, a.box_head_channels),
        "box_predictor": FastRCNNPredictor(a.box_head_channels, num_rows),
    }
    if not a.has_masks:
        return FasterRCNN(fpn, **arguments)
    return MaskRCNN(
        fpn,
        **arguments,
        mask_roi_pool=MultiScaleRoIAlign(maps, output_size=14, sampling_ratio=2),
        mask_head=MaskRCNNHeads(a.fpn_channels, (a.mask_head_channels,) * 4, dilation=1),
        mask_predictor=MaskRCNNPredictor(a.mask_head_channels, a.mask_head_channels, num_rows),
    )


def set_max_detections(model: Detector, max_detections: int) -> None:
    """Let the model return at most ``max_detections`` detections per image, those with the highest scores, in place.

    For more detections than so far it also examines more candidates: RoIs of the box head, or locations of a one-stage
    detector. Fewer detections cost no less, and are the best of those that were found before.
    """
    owner: Any = score_owner(model)
    if max_detections > owner.detections_per_img:
        candidates = max_detections * _CANDIDATES_PER_DETECTION
        if isinstance(model, GeneralizedRCNN):
            for limit in (model.rpn._pre_nms_top_n, model.rpn._post_nms_top_n):
                limit["testing"] = max(limit["testing"], candidates)
        else:
            model.topk_candidates = max(model.topk_candidates, candidates)
    owner.detections_per_img = max_detections


def max_detections_of(model: Detector) -> int:
    """Return the number of detections that the model returns per image at most."""
    owner: Any = score_owner(model)
    return owner.detections_per_img


def nms_iou_of(model: Detector) -> float:
    """Return the IoU above which NMS drops the box with the lower score of two boxes of a class."""
    owner: Any = score_owner(model)
    return float(owner.nms_thresh)


def set_max_proposals(model: GeneralizedRCNN, max_proposals: int) -> None:
    """Let an R-CNN classify at most ``max_proposals`` proposals per image, those with the highest scores, in place."""
    model.rpn._post_nms_top_n["testing"] = max_proposals


def max_proposals_of(model: Detector) -> int | None:
    """Return the number of proposals per image that an R-CNN classifies; None for a one-stage detector."""
    return model.rpn._post_nms_top_n["testing"] if isinstance(model, GeneralizedRCNN) else None


def score_owner(model: Detector) -> nn.Module:
    """Return the module with the minimum score of a detection, ``score_thresh``, and the maximum number of detections
    per image, ``detections_per_img``."""
    return getattr(model, "roi_heads", model)
