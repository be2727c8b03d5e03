"""Everything that determines a model's layers, as plain values that a checkpoint can store."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from detect.errors import UsageError
from detect.models.anchors import ASPECT_RATIOS, anchor_sizes
from detect.models.backbones import build_backbone
from detect.models.zoo import (
    BACKBONES,
    DETECTORS,
    HEADS,
    IMAGENET_MEAN,
    IMAGENET_STD,
    MAX_DETECTIONS,
    SMALL_BACKBONE_PARAMETERS,
    TIMM,
    TIMM_NARROW,
    TIMM_WIDE,
    own_max_detections,
)
from detect.structures.image_size import max_long_side
from detect.text import unknown

# Key in files of earlier versions -> key today.
RENAMED_KEYS = {
    "fpn": "fpn_channels",
    "box": "box_head_channels",
    "mask": "mask_head_channels",
    "taps": "feature_layers",
    "proposals": "max_proposals",
    "sampled": "rois_per_image",
    "fixed": "has_fixed_size",
}


@dataclass(frozen=True)
class Architecture:
    """All arguments that build a model, except for the number of classes.

    The values from ``fpn_channels`` to ``rois_per_image`` are None for torchvision's detectors, which bring their own;
    only ``max_proposals`` may be set for them too.

    Attributes:
        model: name in ``BACKBONES`` or ``DETECTORS``, or ``timm:NAME``.
        head: ``maskrcnn`` or ``fasterrcnn``, or the head of the line in ``DETECTORS``.
        norm: kind of batch norms, a name in ``detect.models.norms.NORMS``. Frozen and learned batch norms load each
            other's state without an error, so the kind has to be stored.
        norm_eps: eps of all batch norms; torchvision's V1 detectors were trained with 0.
        min_size, max_size: pixels. At inference the short side is resized to ``min_size``, the long side to at most
            ``max_size``.
        mean, std: RGB normalization for values in 0..1.
        fpn_channels: channels of every FPN level.
        box_head_channels: features of the two fully connected layers of the box head.
        mask_head_channels: channels of the convolutions of the mask head.
        feature_layers: names of the backbone layers whose outputs the FPN takes, fine to coarse.
        anchors: sizes of the anchors of each level, pixels of the resized image.
        aspect_ratios: height divided by width; every anchor size has all of these ratios.
        max_proposals: proposals per image that reach the box head at inference, at least; more for more detections. In
            the metadata of an export it is the exact number.
        rois_per_image: proposals per image that the box loss samples.
        has_fixed_size: whether inference resizes both sides to ``min_size``, whatever the aspect ratio of the image.
        max_detections: detections per image that inference returns at most, those with the highest scores.
    """

    model: str
    head: str
    norm: str
    norm_eps: float
    min_size: int
    max_size: int
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    fpn_channels: int | None = None
    box_head_channels: int | None = None
    mask_head_channels: int | None = None
    feature_layers: tuple[str, ...] | None = None
    anchors: tuple[tuple[int, ...], ...] | None = None
    aspect_ratios: tuple[float, ...] | None = None
    max_proposals: int | None = None
    rois_per_image: int | None = None
    has_fixed_size: bool = False
    max_detections: int = MAX_DETECTIONS

    def to_json(self) -> dict[str, Any]:
        """Return the fields as values that JSON can represent."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Architecture:
        """Return the Architecture that ``to_json`` described, with lists turned back into tuples.

        Key names of earlier versions are accepted. In files without ``max_detections`` the limit is that of the model
        itself. Raises TypeError for unknown and missing keys.
        """
        current = {RENAMED_KEYS.get(key, key): _tuples(value) for key, value in values.items()}
        return cls(**{"max_detections": own_max_detections(str(current.get("model")))} | current)

    @property
    def has_masks(self) -> bool:
        """Whether the model predicts instance masks."""
        return self.head == "maskrcnn"


def backbone_architecture(name: str, head: str, imgsz: int, fpn_channels: int | None = None) -> Architecture:
    """Return the Architecture of a backbone under an FPN and a Faster or Mask R-CNN head.

    name: key of ``BACKBONES`` or ``timm:NAME``; sizes not given here come from its line in the table.
    head: one of ``HEADS``.
    imgsz: short side of the resized image, pixels; the anchors scale with it.

    Raises UsageError for an unknown name or head, and for timm networks that cannot serve as backbone.
    """
    if name not in BACKBONES and not name.startswith(TIMM):
        raise UsageError(unknown("backbone", name, (*BACKBONES, f"{TIMM}NAME")))
    if head not in HEADS:
        raise UsageError(unknown("head", head, HEADS))
    backbone = build_backbone(name)
    is_small = sum(p.numel() for p in backbone.module.parameters()) < SMALL_BACKBONE_PARAMETERS
    spec = BACKBONES.get(name) or (TIMM_NARROW if is_small else TIMM_WIDE)
    return Architecture(
        model=name,
        head=head,
        norm="batch",
        norm_eps=backbone.norm_eps,
        min_size=imgsz,
        max_size=max_long_side(imgsz),
        fpn_channels=fpn_channels or spec.fpn_channels,
        box_head_channels=spec.box_head_channels,
        mask_head_channels=spec.mask_head_channels,
        feature_layers=tuple(stage.layer for stage in backbone.stages),
        anchors=anchor_sizes(imgsz),
        aspect_ratios=ASPECT_RATIOS,
        max_proposals=spec.max_proposals,
        rois_per_image=256,
    )


def detector_architecture(name: str, imgsz: int | None = None) -> Architecture:
    """Return the Architecture of a torchvision detector, with the batch norms that its published weights need.

    name: key of ``DETECTORS``.
    imgsz: short side of the resized image, pixels; None for the one in the table.

    Raises UsageError for an unknown name, and for an ``imgsz`` that differs from a fixed input size.
    """
    if name not in DETECTORS:
        raise UsageError(unknown("model", name, DETECTORS))
    spec = DETECTORS[name]
    has_fixed_size = spec.short == spec.long
    if has_fixed_size and imgsz not in (None, spec.short):
        raise UsageError(
            f"`imgsz={imgsz}`: {name} has a fixed input of {spec.short}x{spec.short} pixels; omit `imgsz`"
        )
    return Architecture(
        model=name,
        head=spec.head,
        norm=spec.norm,
        norm_eps=spec.norm_eps,
        min_size=imgsz or spec.short,
        max_size=max_long_side(imgsz) if imgsz and not has_fixed_size else spec.long,
        mean=spec.mean,
        std=spec.std,
        has_fixed_size=has_fixed_size,
        max_detections=spec.max_detections,
    )


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value
