"""The tables of models: one line each, strings and numbers only, so that ``--help`` needs no torch.

A *backbone* is a backbone under torchvision's BackboneWithFPN with a head of ours; a *detector* is a whole model of
torchvision's. Widths belong to the line: at 1280x720 a 256-wide MobileNetV2 Mask R-CNN would spend nearly all of
its work in the 3x3 convolutions of pyramid and RPN at stride 4, so light backbones get light pyramids and heads.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BackboneSpec:
    """A line of BACKBONES.

    builder: ``module:function`` that returns a ``Backbone`` (see detect/models/backbones).
    fpn, box, mask: channels of the pyramid, the box head and the mask head.
    proposals: regions that reach the box head at inference (torchvision's default is 1000).
    """

    builder: str
    fpn: int
    box: int
    mask: int
    proposals: int


@dataclass(frozen=True)
class DetectorSpec:
    """A line of DETECTORS.

    builder: torchvision's function.  weights: its name of the published COCO weights.
    head: what stands on the features: one of HEADS, or another that decides what can be trained and what is found.
    norm, norm_eps: those the published weights were trained with; torchvision sets them only when it downloads.
    short, long: the sides in pixels that images are resized to; equal where the model knows but one size.
    mean, std: of RGB in 0..1, None for ImageNet's.
    """

    builder: str
    weights: str
    head: str
    norm: str
    norm_eps: float
    short: int = 800
    long: int = 1333
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


# fpn, box, mask and proposals of backbones with fewer parameters than LIGHT_BELOW, and of the others.
LIGHT_BELOW = 22_000_000
_LIGHT = (128, 512, 128, 300)
_WIDE = (256, 1024, 256, 1000)

# Which of these have published weights stands in detect/models/imagenet.py.
BACKBONES = {
    "resnet18": BackboneSpec("detect.models.backbones.resnet:resnet18", *_LIGHT),
    "resnet34": BackboneSpec("detect.models.backbones.resnet:resnet34", *_LIGHT),
    "resnet50": BackboneSpec("detect.models.backbones.resnet:resnet50", *_WIDE),
    "resnet101": BackboneSpec("detect.models.backbones.resnet:resnet101", *_WIDE),
    "mobilenet_v2": BackboneSpec("detect.models.backbones.mobilenet_v2:mobilenet_v2", *_LIGHT),
    "mobilenet_v3_large": BackboneSpec("detect.models.backbones.mobilenet_v3:mobilenet_v3_large", *_LIGHT),
    "vovnet19": BackboneSpec("detect.models.backbones.vovnet:vovnet19", *_LIGHT),
    "vovnet19_slim": BackboneSpec("detect.models.backbones.vovnet:vovnet19_slim", *_LIGHT),
    "vovnet19_dw": BackboneSpec("detect.models.backbones.vovnet:vovnet19_dw", *_LIGHT),
    "vovnet39": BackboneSpec("detect.models.backbones.vovnet:vovnet39", *_WIDE),
    "vovnet57": BackboneSpec("detect.models.backbones.vovnet:vovnet57", *_WIDE),
}

# Besides these, ``timm:NAME`` is a backbone for every NAME that the package timm knows, with one of two lines.
TIMM = "timm:"
TIMM_LIGHT = BackboneSpec("detect.models.backbones.from_timm:backbone", *_LIGHT)
TIMM_WIDE = BackboneSpec("detect.models.backbones.from_timm:backbone", *_WIDE)

_FASTER, _MASK = "fasterrcnn", "maskrcnn"
DETECTORS = {
    "v1": DetectorSpec("fasterrcnn_resnet50_fpn", "FasterRCNN_ResNet50_FPN_Weights.COCO_V1", _FASTER, "frozen", 0.0),
    "v2": DetectorSpec(
        "fasterrcnn_resnet50_fpn_v2", "FasterRCNN_ResNet50_FPN_V2_Weights.COCO_V1", _FASTER, "batch", 1e-5
    ),
    "maskrcnn": DetectorSpec("maskrcnn_resnet50_fpn", "MaskRCNN_ResNet50_FPN_Weights.COCO_V1", _MASK, "frozen", 0.0),
    "maskrcnn_v2": DetectorSpec(
        "maskrcnn_resnet50_fpn_v2", "MaskRCNN_ResNet50_FPN_V2_Weights.COCO_V1", _MASK, "batch", 1e-5
    ),
    "mobilenet": DetectorSpec(
        "fasterrcnn_mobilenet_v3_large_fpn",
        "FasterRCNN_MobileNet_V3_Large_FPN_Weights.COCO_V1",
        _FASTER,
        "frozen",
        1e-5,
    ),
    "mobilenet_320": DetectorSpec(
        "fasterrcnn_mobilenet_v3_large_320_fpn",
        "FasterRCNN_MobileNet_V3_Large_320_FPN_Weights.COCO_V1",
        _FASTER,
        "frozen",
        1e-5,
        short=320,
        long=640,
    ),
    "retinanet": DetectorSpec(
        "retinanet_resnet50_fpn", "RetinaNet_ResNet50_FPN_Weights.COCO_V1", "retinanet", "frozen", 0.0
    ),
    "retinanet_v2": DetectorSpec(
        "retinanet_resnet50_fpn_v2", "RetinaNet_ResNet50_FPN_V2_Weights.COCO_V1", "retinanet", "batch", 1e-5
    ),
    "fcos": DetectorSpec("fcos_resnet50_fpn", "FCOS_ResNet50_FPN_Weights.COCO_V1", "fcos", "frozen", 1e-5),
    "ssd300": DetectorSpec(
        "ssd300_vgg16",
        "SSD300_VGG16_Weights.COCO_V1",
        "ssd",
        "batch",
        1e-5,
        short=300,
        long=300,
        mean=(0.48235, 0.45882, 0.40784),
        std=(1 / 255, 1 / 255, 1 / 255),
    ),
    "ssdlite": DetectorSpec(
        "ssdlite320_mobilenet_v3_large",
        "SSDLite320_MobileNet_V3_Large_Weights.COCO_V1",
        "ssd",
        "batch",
        1e-3,
        short=320,
        long=320,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
    ),
    "keypointrcnn": DetectorSpec(
        "keypointrcnn_resnet50_fpn", "KeypointRCNN_ResNet50_FPN_Weights.COCO_V1", "keypointrcnn", "frozen", 0.0
    ),
}

HEADS = ("maskrcnn", "fasterrcnn")
TRAINED_HEADS = (*HEADS, "retinanet", "fcos")
TRAINED_DETECTORS = tuple(name for name, line in DETECTORS.items() if line.head in TRAINED_HEADS)
BUNDLED = {"balloon": "weights/balloon.safetensors"}
