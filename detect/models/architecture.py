"""What a model is built from, as plain values that a checkpoint can keep."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from detect.errors import UsageError, unknown
from detect.models.anchors import anchor_sizes
from detect.models.backbones import build_trunk
from detect.models.zoo import BACKBONES, DETECTORS, HEADS
from detect.sizes import long_side

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Architecture:
    """Every argument that builds a model, but for the number of its classes.

    model: a name in BACKBONES or DETECTORS.  head: maskrcnn or fasterrcnn.
    norm: a name in detect.models.norms.NORMS. Frozen and plain batch norms load each other's state silently, and
        torchvision's v1 models were trained with eps 0, so kind and eps are kept.
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


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value
