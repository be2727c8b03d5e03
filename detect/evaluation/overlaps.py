"""Overlaps between detections and ground-truth objects: the basis of matching and of the error analysis."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from pycocotools import mask as coco_mask

from detect.evaluation.columns import EvaluationTable

MIN_IOU = 0.1  # pairs with a smaller IoU have nothing to do with each other in any metric or analysis
_BLOCK = 2_000_000  # pairs whose IoU is computed together; limits the memory


@dataclass(frozen=True)
class Overlaps:
    """P pairs of a detection and an object in the same image, of any class, with an IoU of at least 0.1.

    Sorted by detection, then by object. For a crowd region the IoU is the fraction of the detection that lies inside,
    as COCO defines it.

    detection: int64 [P], row of the detection in the EvaluationTable.
    ground_truth: int64 [P], row of the object.
    iou: float64 [P], 0.1..1.
    """

    detection: np.ndarray
    ground_truth: np.ndarray
    iou: np.ndarray

    def take(self, kept: np.ndarray) -> Overlaps:
        """Return the pairs where ``kept``, bool [P] or int [p], selects them."""
        return Overlaps(self.detection[kept], self.ground_truth[kept], self.iou[kept])


def find_overlaps(table: EvaluationTable, kind: str, min_iou: float = MIN_IOU) -> Overlaps:
    """Return all pairs with an IoU of at least ``min_iou``, of boxes (``kind`` "bbox") or masks ("segm")."""
    blocks = list(_box_overlaps(table, min_iou) if kind == "bbox" else _mask_overlaps(table, min_iou))
    none = np.zeros(0, np.int64)
    columns = zip((none, none, none.astype(np.float64)), *blocks, strict=True)
    return Overlaps(*(np.concatenate(column) for column in columns))


Block = tuple[np.ndarray, np.ndarray, np.ndarray]


def _box_overlaps(table: EvaluationTable, min_iou: float) -> Iterator[Block]:
    """Compute IoUs in the order of operations of pycocotools, so that they are equal to the last bit."""
    first = np.searchsorted(table.gt_image, table.dt_image)  # first object in the image of each detection
    counts = np.searchsorted(table.gt_image, table.dt_image, side="right") - first
    ends = np.cumsum(counts)
    gt_xywh, dt_xywh = _xywh(table.gt_boxes), _xywh(table.dt_boxes)
    start = 0
    while start < len(counts):
        done = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + _BLOCK, side="right")))
        part = counts[start:stop]
        detection = np.repeat(np.arange(start, stop), part)
        position = np.arange(part.sum()) - np.repeat(np.cumsum(part) - part, part)
        ground_truth = first[detection] + position
        iou = _box_iou(dt_xywh[:, detection], gt_xywh[:, ground_truth], table.gt_crowd[ground_truth])
        kept = np.flatnonzero(iou >= min_iou)
        yield detection[kept], ground_truth[kept], iou[kept]
        start = stop


def box_ious(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the IoU of each of N boxes with the other box in the same row, float64 [N]; both float64 [N, 4], xyxy."""
    return _box_iou(_xywh(boxes), _xywh(others), np.zeros(len(boxes), bool))


def _xywh(boxes: np.ndarray) -> np.ndarray:
    """Return boxes, xyxy [N, 4], as columns x, y, width and height, [4, N]."""
    x0, y0, x1, y1 = boxes.T
    return np.stack([x0, y0, x1 - x0, y1 - y0])


def _box_iou(detected: np.ndarray, annotated: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """Return the IoU of N pairs of boxes. detected, annotated: float64 [4, N], xywh. crowd: bool [N]."""
    dx, dy, dw, dh = detected
    gx, gy, gw, gh = annotated
    width = np.minimum(dw + dx, gw + gx) - np.maximum(dx, gx)
    height = np.minimum(dh + dy, gh + gy) - np.maximum(dy, gy)
    inside = np.where((width > 0) & (height > 0), width * height, 0.0)
    area = dw * dh
    union = np.where(crowd, area, area + gw * gh - inside)
    return np.divide(inside, union, out=np.zeros_like(inside), where=inside > 0)


def _mask_overlaps(table: EvaluationTable, min_iou: float) -> Iterator[Block]:
    assert table.gt_masks is not None
    assert table.dt_masks is not None
    images = np.arange(table.num_images + 1)
    gt_starts, dt_starts = (np.searchsorted(image, images).tolist() for image in (table.gt_image, table.dt_image))
    crowd = table.gt_crowd.astype(np.uint8)
    for image in np.intersect1d(table.gt_image, table.dt_image).tolist():
        (g0, g1), (d0, d1) = gt_starts[image : image + 2], dt_starts[image : image + 2]
        iou = np.asarray(coco_mask.iou(table.dt_masks[d0:d1], table.gt_masks[g0:g1], crowd[g0:g1]))
        detection, ground_truth = np.nonzero(iou >= min_iou)
        yield detection + d0, ground_truth + g0, iou[detection, ground_truth]
