"""Architecture -> torchvision detector. Every build argument stands in the Architecture, and so in a checkpoint."""

from __future__ import annotations

from typing import Any

import torchvision
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torchvision.models.detection import FasterRCNN, MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.transform import GeneralizedRCNNTransform, resize_boxes
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from detect.models.architecture import Architecture
from detect.models.backbones import build_trunk
from detect.models.norms import set_norms
from detect.models.zoo import DETECTORS
from detect.sizes import resized_hw


def build(architecture: Architecture, num_rows: int) -> GeneralizedRCNN:
    """The model with random weights, in training mode. ``num_rows``: classes and background.

    It takes ``[float32 [3, H, W] RGB 0..1]`` and, in training, torchvision's targets, and returns losses or
    detections. In training it does not resize, since the loader has; in evaluation it resizes by itself and
    returns boxes on the original pixels and masks as [N, 1, 28, 28] probabilities inside their boxes.
    """
    common: dict[str, Any] = {"image_mean": list(architecture.mean), "image_std": list(architecture.std)}
    sizes = {"min_size": architecture.min_size, "max_size": architecture.max_size}
    if architecture.model in DETECTORS:
        builder = getattr(torchvision.models.detection, DETECTORS[architecture.model].builder)
        model = builder(weights=None, weights_backbone=None, num_classes=num_rows, **sizes, **common)
    else:
        model = _build_on_backbone(architecture, num_rows)
    model.transform = _Transform(*sizes.values(), *common.values())
    set_norms(model, architecture.norm, architecture.norm_eps)
    return model


def _build_on_backbone(architecture: Architecture, num_rows: int) -> GeneralizedRCNN:
    a = architecture
    assert a.fpn and a.box and a.mask and a.anchors and a.aspect_ratios and a.taps  # set for every BACKBONES line
    trunk = build_trunk(a.model)
    channels = {stage.layer: stage.channels for stage in trunk.stages}
    backbone = BackboneWithFPN(
        nn.Sequential(trunk.layers),
        return_layers={layer: str(i) for i, layer in enumerate(a.taps)},
        in_channels_list=[channels[layer] for layer in a.taps],
        out_channels=a.fpn,
        extra_blocks=LastLevelMaxPool(),
    )
    maps = [str(i) for i in range(len(a.taps))]
    arguments: dict[str, Any] = {
        "rpn_anchor_generator": AnchorGenerator(a.anchors, (a.aspect_ratios,) * len(a.anchors)),
        "rpn_post_nms_top_n_test": a.proposals,
        "rpn_post_nms_top_n_train": 1000,
        "box_batch_size_per_image": a.sampled,
        "box_roi_pool": MultiScaleRoIAlign(maps, output_size=7, sampling_ratio=2),
        "box_head": TwoMLPHead(a.fpn * 7**2, a.box),
        "box_predictor": FastRCNNPredictor(a.box, num_rows),
    }
    if not a.has_masks:
        return FasterRCNN(backbone, **arguments)
    return MaskRCNN(
        backbone,
        **arguments,
        mask_roi_pool=MultiScaleRoIAlign(maps, output_size=14, sampling_ratio=2),
        mask_head=MaskRCNNHeads(a.fpn, (a.mask,) * 4, dilation=1),
        mask_predictor=MaskRCNNPredictor(a.mask, a.mask, num_rows),
    )


class _Transform(GeneralizedRCNNTransform):
    """torchvision's, with three differences.

    In training it does not resize, since the loader has. In evaluation a very narrow picture keeps a pixel of width,
    where torchvision fails. And masks stay 28x28: torchvision would paste all of them as float at full size, which
    for 100 masks on a 2048x1536 picture takes over 1 GiB; ``detect.predictor`` pastes one at a time.
    """

    def resize(
        self, image: Tensor, target: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor] | None]:
        if self.training:
            return image, target
        height, width = image.shape[-2:]
        size = resized_hw((height, width), self.min_size[-1], self.max_size)
        return interpolate(image[None], size=size, mode="bilinear", align_corners=False)[0], target

    def postprocess(
        self,
        result: list[dict[str, Tensor]],
        image_shapes: list[tuple[int, int]],
        original_image_sizes: list[tuple[int, int]],
    ) -> list[dict[str, Tensor]]:
        if not self.training:
            for found, resized, original in zip(result, image_shapes, original_image_sizes, strict=True):
                found["boxes"] = resize_boxes(found["boxes"], list(resized), list(original))
        return result


def freeze_stages(model: GeneralizedRCNN, stages: int) -> None:
    """Keep the weights of the trunk's first ``stages`` stages as they are, in place: they see edges and colours,
    which a small data set cannot teach better, and their backward pass is the dearest."""
    body = model.backbone.body
    taps = list(body.return_layers)[:stages]
    for name, layer in body.named_children():
        if not taps:
            return
        layer.requires_grad_(False)
        if name in taps:
            taps.remove(name)
