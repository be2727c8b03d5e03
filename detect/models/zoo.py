"""The tables of models: one line each, strings and numbers only, so that ``--help`` needs no torch.

A *backbone* is a trunk under torchvision's BackboneWithFPN with a head of ours; a *detector* is a whole model of
torchvision's. Widths belong to the line: at 1280x720 a 256-wide MobileNetV2 Mask R-CNN would spend nearly all of
its work in the 3x3 convolutions of pyramid and RPN at stride 4, so light trunks get light pyramids and heads.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BackboneSpec:
    """A line of BACKBONES.

    builder: ``module:function`` that returns a ``Trunk`` (see detect/models/backbones).
    weights: torchvision's name of the published ImageNet weights, or None where none are published.
    fpn, box, mask: channels of the pyramid, the box head and the mask head.
    proposals: regions that reach the box head at inference (torchvision's default is 1000).
    """

    builder: str
    weights: str | None
    fpn: int
    box: int
    mask: int
    proposals: int


@dataclass(frozen=True)
class DetectorSpec:
    """A line of DETECTORS: torchvision's builder, its published COCO weights, its head, and the norms they need."""

    builder: str
    weights: str
    head: str
    norm: str
    norm_eps: float


_RESNET = "detect.models.backbones.resnet:"

BACKBONES = {
    "resnet50": BackboneSpec(_RESNET + "resnet50", "ResNet50_Weights.IMAGENET1K_V1", 256, 1024, 256, 1000),
    "resnet101": BackboneSpec(_RESNET + "resnet101", "ResNet101_Weights.IMAGENET1K_V1", 256, 1024, 256, 1000),
    "mobilenet_v2": BackboneSpec(
        "detect.models.backbones.mobilenet_v2:mobilenet_v2",
        "MobileNet_V2_Weights.IMAGENET1K_V1",
        128,
        512,
        128,
        300,
    ),
    "vovnet19": BackboneSpec("detect.models.backbones.vovnet:vovnet19", None, 128, 512, 128, 300),
}

# norm and eps are those the published weights were trained with; torchvision sets them only when it downloads.
DETECTORS = {
    "v1": DetectorSpec(
        "fasterrcnn_resnet50_fpn", "FasterRCNN_ResNet50_FPN_Weights.COCO_V1", "fasterrcnn", "frozen", 0.0
    ),
    "v2": DetectorSpec(
        "fasterrcnn_resnet50_fpn_v2",
        "FasterRCNN_ResNet50_FPN_V2_Weights.COCO_V1",
        "fasterrcnn",
        "batch",
        1e-5,
    ),
    "maskrcnn": DetectorSpec(
        "maskrcnn_resnet50_fpn", "MaskRCNN_ResNet50_FPN_Weights.COCO_V1", "maskrcnn", "frozen", 0.0
    ),
    "maskrcnn_v2": DetectorSpec(
        "maskrcnn_resnet50_fpn_v2", "MaskRCNN_ResNet50_FPN_V2_Weights.COCO_V1", "maskrcnn", "batch", 1e-5
    ),
}

HEADS = ("maskrcnn", "fasterrcnn")
BUNDLED = {"balloon": "weights/balloon.safetensors"}
