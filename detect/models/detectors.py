"""Architecture -> torchvision detector. Every build argument stands in the Architecture, and so in a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any

import torch
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
from torchvision.ops import FrozenBatchNorm2d, MultiScaleRoIAlign, box_iou
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from detect.errors import UsageError, unknown
from detect.models.backbones import Trunk
from detect.models.zoo import BACKBONES, DETECTORS, HEADS
from detect.sizes import long_side, resized_hw
from detect.types import ImageRecord

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# All batch norms frozen (FrozenBatchNorm2d), those of the trunk alone, or none (BatchNorm2d).
NORMS = ("frozen", "frozen_trunk", "batch")


@dataclass(frozen=True)
class Architecture:
    """Every argument that builds a model, but for the number of its classes.

    model: a name in BACKBONES or DETECTORS.  head: maskrcnn or fasterrcnn.
    norm: a name in NORMS. Frozen and plain batch norms load each other's state silently, and torchvision's v1 models
        were trained with eps 0, so kind and eps are kept.
    min_size, max_size: inference resizes the short side to min_size, the long side to at most max_size pixels.
    mean, std: of RGB in 0..1.
    fpn, box, mask: channels; taps: the trunk's layers; anchors: for each level its sizes in pixels of the resized
        image; proposals: regions kept at inference; sampled: regions that the box loss samples in a picture.
        None for torchvision's own detectors, which bring theirs.
    """

    model: str
    head: str
    norm: str
    norm_eps: float
    min_size: int
    max_size: int
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    fpn: int | None = None
    box: int | None = None
    mask: int | None = None
    taps: tuple[str, ...] | None = None
    anchors: tuple[tuple[int, ...], ...] | None = None
    aspect_ratios: tuple[float, ...] | None = None
    proposals: int | None = None
    sampled: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Architecture:
        """The inverse of ``to_json``; JSON's lists become tuples again."""
        return cls(**{k: _tuples(v) for k, v in values.items()})

    @property
    def has_masks(self) -> bool:
        """Whether the model predicts masks."""
        return self.head == "maskrcnn"


def backbone_architecture(name: str, head: str, imgsz: int, fpn_channels: int | None = None) -> Architecture:
    """The Architecture of ``name`` in BACKBONES at short side ``imgsz``, with the defaults of its line."""
    if name not in BACKBONES:
        raise UsageError(unknown("backbone", name, BACKBONES))
    if head not in HEADS:
        raise UsageError(unknown("head", head, HEADS))
    line = BACKBONES[name]
    return Architecture(
        model=name,
        head=head,
        norm="batch",
        norm_eps=1e-5,
        min_size=imgsz,
        max_size=long_side(imgsz),
        fpn=fpn_channels or line.fpn,
        box=line.box,
        mask=line.mask,
        taps=tuple(stage.layer for stage in build_trunk(name).stages),
        anchors=anchor_sizes(imgsz),
        aspect_ratios=(0.5, 1.0, 2.0),
        proposals=line.proposals,
        sampled=256,
    )


def detector_architecture(name: str, imgsz: int) -> Architecture:
    """The Architecture of ``name`` in DETECTORS, norms as its published weights have them."""
    if name not in DETECTORS:
        raise UsageError(unknown("model", name, DETECTORS))
    line = DETECTORS[name]
    return Architecture(name, line.head, line.norm, line.norm_eps, min_size=imgsz, max_size=long_side(imgsz))


def anchor_sizes(imgsz: int, levels: int = 5) -> tuple[tuple[int, ...], ...]:
    """Two sizes an octave on every level, from 32 at short side 800 in proportion.

    One size an octave, torchvision's default, leaves a gap of 2 between neighbours, and its largest anchor, 512,
    stays below objects that fill a picture; both cost recall on a small set.
    """
    base = 32 * imgsz / 800
    return tuple((round(base * 2**k), round(base * 2**k * math.sqrt(2))) for k in range(levels))


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


def build_trunk(name: str) -> Trunk:
    """The trunk of a line of BACKBONES with random weights."""
    module, function = BACKBONES[name].builder.split(":")
    return getattr(import_module(module), function)()


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


def anchor_recall(
    model: GeneralizedRCNN, records: Sequence[ImageRecord], imgsz: int, *, iou: float = 0.5, most: int = 100
) -> float:
    """The share of objects that some anchor overlaps by at least ``iou`` when pictures have short side ``imgsz``; 1.0
    for no objects. What no anchor reaches is hard to learn.

    At most ``most`` of the pictures, evenly chosen, and as many objects of each are looked at.
    """
    generator = model.rpn.anchor_generator
    strides = [4 * 2**level for level in range(len(generator.sizes))]
    reached = total = 0
    for record in records[:: math.ceil(len(records) / most)]:
        height, width = resized_hw(record.image_hw, imgsz)
        boxes = torch.from_numpy(record.boxes[~record.iscrowd][:most]) * (min(height, width) / min(record.image_hw))
        grids = [[math.ceil(height / s), math.ceil(width / s)] for s in strides]
        anchors = torch.cat(generator.grid_anchors(grids, [[torch.tensor(s), torch.tensor(s)] for s in strides]))
        if len(boxes):
            reached += int((box_iou(boxes, anchors).max(dim=1).values >= iou).sum())
            total += len(boxes)
    return reached / total if total else 1.0


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value
