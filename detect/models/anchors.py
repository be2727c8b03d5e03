"""The boxes that a region proposal network starts from, and how many of the objects they can reach."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.ops import box_iou

from detect.sizes import resized_hw
from detect.types import ImageRecord


def anchor_sizes(imgsz: int, levels: int = 5) -> tuple[tuple[int, ...], ...]:
    """Two sizes an octave on every level, from 32 at short side 800 in proportion.

    One size an octave, torchvision's default, leaves a gap of 2 between neighbours, and its largest anchor, 512,
    stays below objects that fill a picture; both cost recall on a small set.
    """
    base = 32 * imgsz / 800
    return tuple((round(base * 2**k), round(base * 2**k * math.sqrt(2))) for k in range(levels))


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
