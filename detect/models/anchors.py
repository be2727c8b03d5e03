"""The boxes that a region proposal network starts from, and how many of the objects they can reach."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torchvision.ops import box_iou

from detect.structures.image_record import ImageRecord
from detect.structures.image_size import resized_hw

if TYPE_CHECKING:
    from detect.models.builder import Detector

ASPECT_RATIOS = (0.5, 1.0, 2.0)  # height over width, torchvision's own


def anchor_sizes(
    imgsz: int, levels: int = 5, *, octaves: float = 0.0, an_octave: int = 2
) -> tuple[tuple[int, ...], ...]:
    """``an_octave`` sizes an octave on every level, from 32 at short side 800 in proportion, and 2 to the ``octaves``
    times that.

    One size an octave, torchvision's default, leaves a gap of 2 between neighbours, and its largest anchor, 512,
    stays below objects that fill an image; both cost recall on a small set.
    """
    base = 32 * imgsz / 800 * 2**octaves
    return tuple(tuple(round(base * 2 ** (k + i / an_octave)) for i in range(an_octave)) for k in range(levels))


def anchor_recall(
    model: Detector, records: Sequence[ImageRecord], imgsz: int, *, iou: float = 0.5, most: int = 100
) -> float:
    """The share of objects that some anchor overlaps by at least ``iou`` when images have short side ``imgsz``; 1.0
    for no objects. What no anchor reaches is hard to learn.

    At most ``most`` of the images, evenly chosen, and as many objects of each are looked at.
    """
    generator = model.rpn.anchor_generator if hasattr(model, "rpn") else model.anchor_generator
    strides = _strides(model)
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


@torch.inference_mode()
def _strides(model: Detector) -> list[int]:
    """Pixels between neighbours in each feature map, measured: some of torchvision's pyramids repeat a stride."""
    side = 256
    was_training = model.training
    maps = model.eval().backbone(torch.zeros(1, 3, side, side, device=next(model.parameters()).device))
    model.train(was_training)
    return [round(side / one.shape[-1]) for one in maps.values()]
