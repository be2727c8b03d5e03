"""What a model is built from, as plain values that a checkpoint can keep."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from detect.errors import UsageError
from detect.models.anchors import ASPECT_RATIOS, anchor_sizes
from detect.models.backbones import build_backbone
from detect.models.imagenet import IMAGENET_MEAN, IMAGENET_STD
from detect.models.zoo import BACKBONES, DETECTORS, HEADS, LIGHT_BELOW, TIMM, TIMM_LIGHT, TIMM_WIDE
from detect.structures.image_size import long_side
from detect.text import unknown


@dataclass(frozen=True)
class Architecture:
    """Every argument that builds a model, but for the number of its classes.

    model: a name in BACKBONES or DETECTORS, or timm:NAME.
    head: maskrcnn, fasterrcnn, or that of the line in DETECTORS.
    norm: a name in detect.models.norms.NORMS. Frozen and plain batch norms load each other's state silently, and
        torchvision's v1 models were trained with eps 0, so kind and eps are kept.
    min_size, max_size: inference resizes the short side to min_size, the long side to at most max_size pixels;
        where fixed, both sides to min_size, whatever the image's shape.
    mean, std: of RGB in 0..1.
    fpn, box, mask: channels; taps: the backbone's layers; anchors: for each level its sizes in pixels of the resized
        image; aspect_ratios: height over width, each of every size; proposals: regions kept at inference; sampled:
        regions that the box loss samples in an image.
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
    fixed: bool = False

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
    """The Architecture of ``name`` in BACKBONES, or of timm:NAME, at short side ``imgsz``, with the defaults of its
    line. Raises UsageError, also for what ``from_timm.backbone`` refuses."""
    if name not in BACKBONES and not name.startswith(TIMM):
        raise UsageError(unknown("backbone", name, (*BACKBONES, f"{TIMM}NAME")))
    if head not in HEADS:
        raise UsageError(unknown("head", head, HEADS))
    backbone = build_backbone(name)
    is_light = sum(p.numel() for p in backbone.module.parameters()) < LIGHT_BELOW
    line = BACKBONES.get(name) or (TIMM_LIGHT if is_light else TIMM_WIDE)
    return Architecture(
        model=name,
        head=head,
        norm="batch",
        norm_eps=backbone.norm_eps,
        min_size=imgsz,
        max_size=long_side(imgsz),
        fpn=fpn_channels or line.fpn,
        box=line.box,
        mask=line.mask,
        taps=tuple(stage.layer for stage in backbone.stages),
        anchors=anchor_sizes(imgsz),
        aspect_ratios=ASPECT_RATIOS,
        proposals=line.proposals,
        sampled=256,
    )


def detector_architecture(name: str, imgsz: int | None = None) -> Architecture:
    """The Architecture of ``name`` in DETECTORS, norms as its published weights have them.

    imgsz: short side in pixels, by default that of the line. UsageError for an unknown name, and for a size where
    the model knows but one.
    """
    if name not in DETECTORS:
        raise UsageError(unknown("model", name, DETECTORS))
    line = DETECTORS[name]
    fixed = line.short == line.long
    if fixed and imgsz not in (None, line.short):
        raise UsageError(f"{name} looks at {line.short}x{line.short} pixels and nothing else; leave out --imgsz")
    return Architecture(
        model=name,
        head=line.head,
        norm=line.norm,
        norm_eps=line.norm_eps,
        min_size=imgsz or line.short,
        max_size=long_side(imgsz) if imgsz and not fixed else line.long,
        mean=line.mean or IMAGENET_MEAN,
        std=line.std or IMAGENET_STD,
        fixed=fixed,
    )


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value
