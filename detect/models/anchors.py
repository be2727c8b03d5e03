"""Anchors: the reference boxes that a region proposal network (RPN) or one-stage head refines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torchvision.ops import box_iou

from detect.models.torchvision_internals import AnchorGenerator
from detect.structures.image_record import ImageRecord
from detect.structures.image_size import resized_hw

if TYPE_CHECKING:
    from detect.models.builder import Detector

ASPECT_RATIOS = (0.5, 1.0, 2.0)  # height divided by width, torchvision's default


def anchor_sizes(
    imgsz: int, levels: int = 5, *, octave_shift: float = 0.0, sizes_per_octave: int = 2
) -> tuple[tuple[int, ...], ...]:
    """Return the anchor sizes of every FPN level in pixels: ``sizes_per_octave`` sizes per level.

    The smallest size is 32 pixels for images with short side 800, in proportion for another ``imgsz``, and is
    multiplied by 2 ** ``octave_shift``. Each level doubles the sizes of the level before it.

    torchvision's default of one size per octave leaves a factor of 2 between neighboring sizes, and its largest
    anchor of 512 pixels is smaller than objects that fill the image. Both cost recall on a small dataset.
    """
    base = 32 * imgsz / 800 * 2**octave_shift
    return tuple(
        tuple(round(base * 2 ** (level + i / sizes_per_octave)) for i in range(sizes_per_octave))
        for level in range(levels)
    )


@dataclass(frozen=True)
class AnchorGrid:
    """The anchors of a detector: of which shapes, and how far apart on the image.

    generator: torchvision's AnchorGenerator.
    strides: distance of neighboring anchors of each feature map, pixels of the resized image.
    """

    generator: AnchorGenerator
    strides: tuple[int, ...]

    @classmethod
    def of(cls, model: Detector) -> AnchorGrid:
        """Return the anchors of a detector, whose weights may be on the device "meta"."""
        generator = model.rpn.anchor_generator if hasattr(model, "rpn") else model.anchor_generator
        return cls(generator, tuple(_strides(model)))

    @property
    def sizes(self) -> list[int]:
        """Square roots of the areas of the anchors in pixels of the resized image, of all feature maps."""
        return [size for level in self.generator.sizes for size in level]


def anchor_recall(
    grid: AnchorGrid,
    records: Sequence[ImageRecord],
    imgsz: int,
    *,
    iou: float = 0.5,
    max_images: int = 100,
    max_objects_per_image: int = 100,
) -> float:
    """Return the fraction of ground-truth boxes that have an IoU of at least ``iou`` with some anchor of ``grid``.

    Boxes are measured on images resized to short side ``imgsz``. Objects that no anchor reaches are hard to learn.
    At most ``max_images`` evenly spaced images are examined. Returns 1.0 if there are no objects.
    """
    reached = total = 0
    for record in records[:: math.ceil(len(records) / max_images)]:
        height, width = resized_hw(record.image_hw, imgsz)
        scale = min(height, width) / min(record.image_hw)
        boxes = torch.from_numpy(record.boxes[~record.iscrowd][:max_objects_per_image]) * scale
        grids = [[math.ceil(height / s), math.ceil(width / s)] for s in grid.strides]
        steps = [[torch.tensor(s), torch.tensor(s)] for s in grid.strides]
        anchors = torch.cat(grid.generator.grid_anchors(grids, steps)).cpu()
        if len(boxes):
            reached += int((box_iou(boxes, anchors).max(dim=1).values >= iou).sum())
            total += len(boxes)
    return reached / total if total else 1.0


@torch.inference_mode()
def _strides(model: Detector) -> list[int]:
    """Return the stride of each feature map in pixels, measured with a forward pass.

    torchvision's MobileNetV3 detectors have two maps of equal stride, so the strides cannot be derived from their
    number.
    """
    side = 256
    was_training = model.training
    weight = next(model.parameters())
    maps = model.eval().backbone(torch.zeros(1, 3, side, side, dtype=weight.dtype, device=weight.device))
    model.train(was_training)
    return [round(side / one.shape[-1]) for one in maps.values()]
