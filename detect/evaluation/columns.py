"""Ground truth and detections of a dataset as columns, the form in which all metrics are computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from detect.data.table import Table
from detect.structures import masks
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.structures.image_record import ImageRecord
from detect.structures.masks import Rle


@dataclass(frozen=True)
class EvaluationTable:
    """G ground-truth objects and D detections in I images.

    class_names: the K classes.
    image_hw: int64 [I, 2], (height, width) in pixels.
    gt_image: int64 [G], index of the image of each object, ascending.
    gt_label: int64 [G], 1..K.
    gt_boxes: float64 [G, 4], xyxy, absolute pixels.
    gt_area: float64 [G], square pixels, as annotated.
    gt_crowd: bool [G], whether the annotation is a region of many objects.
    gt_row: int64 [G], index of the object in its ImageRecord.
    gt_masks: G RLEs; None if records or detections lack masks.
    dt_image: int64 [D], index of the image of each detection, ascending.
    dt_label: int64 [D], 1..K.
    dt_boxes: float64 [D, 4], xyxy, absolute pixels.
    dt_scores: float64 [D], 0..1, descending within an image.
    dt_row: int64 [D], index of the detection in its Detections.
    dt_masks: D RLEs; None if records or detections lack masks.
    """

    class_names: ClassNames
    image_hw: np.ndarray
    gt_image: np.ndarray
    gt_label: np.ndarray
    gt_boxes: np.ndarray
    gt_area: np.ndarray
    gt_crowd: np.ndarray
    gt_row: np.ndarray
    gt_masks: list[Rle] | None
    dt_image: np.ndarray
    dt_label: np.ndarray
    dt_boxes: np.ndarray
    dt_scores: np.ndarray
    dt_row: np.ndarray
    dt_masks: list[Rle] | None

    @property
    def num_images(self) -> int:
        return len(self.image_hw)

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def kinds(self) -> tuple[str, ...]:
        """``("bbox", "segm")`` if ground truth and detections have masks, else ``("bbox",)``."""
        return ("bbox",) if self.gt_masks is None else ("bbox", "segm")

    @cached_property
    def dt_rank(self) -> np.ndarray:
        """Rank of each detection by score among those of its class in its image, int64 [D], from 0."""
        order = np.lexsort((np.arange(len(self.dt_image)), self.dt_label, self.dt_image))
        group = self.dt_image[order] * (self.num_classes + 1) + self.dt_label[order]
        starts = np.flatnonzero(np.diff(group, prepend=-1))
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
        return rank

    def dt_area(self, kind: str) -> np.ndarray:
        """Area of each detection in square pixels, float64 [D]: of its box ("bbox") or of its mask ("segm")."""
        if kind == "bbox":
            return (self.dt_boxes[:, 2] - self.dt_boxes[:, 0]) * (self.dt_boxes[:, 3] - self.dt_boxes[:, 1])
        assert self.dt_masks is not None
        return np.array([masks.area(mask) for mask in self.dt_masks], np.float64)


def evaluation_table(
    records: Sequence[ImageRecord], detections: Sequence[Detections], class_names: ClassNames
) -> EvaluationTable:
    """Return the columns of records and of the detections in each of them, with labels of ``class_names``.

    Raises ValueError for unequal lengths, detections of another image size, and labels outside 1..K.
    """
    if len(records) != len(detections):
        raise ValueError(f"{len(records)} records but detections of {len(detections)} images")
    image_hw = _image_sizes(records)
    _check_detections(records, image_hw, detections, class_names)
    dt_counts = [len(one) for one in detections]
    gt_masks, dt_masks = _all_masks(records, detections)
    ground_truth = _ground_truth_columns(records)
    return EvaluationTable(
        class_names=class_names,
        image_hw=image_hw,
        gt_masks=gt_masks,
        dt_image=np.repeat(np.arange(len(detections)), dt_counts),
        dt_label=_concatenated([one.labels for one in detections], np.int64),
        dt_boxes=_concatenated([one.boxes for one in detections], np.float64, (4,)),
        dt_scores=_concatenated([one.scores for one in detections], np.float64),
        dt_row=_counted_from_zero(dt_counts),
        dt_masks=dt_masks,
        **ground_truth,
    )


def _check_detections(
    records: Sequence[ImageRecord], image_hw: np.ndarray, detections: Sequence[Detections], class_names: ClassNames
) -> None:
    found_hw = np.array([one.image_hw for one in detections], np.int64).reshape(-1, 2)
    for i in np.flatnonzero((image_hw != found_hw).any(axis=1))[:1].tolist():
        expected = tuple(image_hw[i].tolist())
        raise ValueError(f"{records[i].path} is {expected} (h, w), its detections are for {detections[i].image_hw}")
    for i, one in enumerate(detections):
        if len(one) and one.labels.max() > len(class_names):
            raise ValueError(f"{records[i].path}: label {one.labels.max()} is not in 1..{len(class_names)}")


def _image_sizes(records: Sequence[ImageRecord]) -> np.ndarray:
    if isinstance(records, Table):
        return records.image_hw.astype(np.int64)
    return np.array([record.image_hw for record in records], np.int64).reshape(-1, 2)


def _ground_truth_columns(records: Sequence[ImageRecord]) -> dict[str, np.ndarray]:
    if isinstance(records, Table):  # without creating a record per image
        counts = np.diff(records.object_starts).tolist()
        boxes, labels, areas, crowds = records.boxes, records.labels, records.areas, records.iscrowd
    else:
        counts = [len(record) for record in records]
        boxes = _concatenated([record.boxes for record in records], np.float32, (4,))
        labels = _concatenated([record.labels for record in records], np.int64)
        areas = _concatenated([record.areas for record in records], np.float64)
        crowds = _concatenated([record.iscrowd for record in records], bool)
    return {
        "gt_image": np.repeat(np.arange(len(counts)), counts),
        "gt_label": labels.astype(np.int64),
        "gt_boxes": boxes.astype(np.float32).astype(np.float64),  # a Table has float64, records have float32
        "gt_area": areas.astype(np.float64),
        "gt_crowd": crowds.astype(bool),
        "gt_row": _counted_from_zero(counts),
    }


def _all_masks(
    records: Sequence[ImageRecord], detections: Sequence[Detections]
) -> tuple[list[Rle] | None, list[Rle] | None]:
    """Return the masks of all objects and of all detections; (None, None) if a record or a detection has none."""
    has_masks = records.has_masks if isinstance(records, Table) else all(r.masks is not None for r in records)
    if not has_masks or any(one.masks is None for one in detections):
        return None, None
    ground_truth = [masks.from_coco(mask, record.image_hw) for record in records for mask in record.masks or ()]
    return ground_truth, [mask for one in detections for mask in one.masks or ()]


def _concatenated(arrays: Sequence[np.ndarray], dtype: type, shape: tuple[int, ...] = ()) -> np.ndarray:
    return np.concatenate([np.zeros((0, *shape), dtype), *arrays]).astype(dtype)


def _counted_from_zero(counts: Sequence[int]) -> np.ndarray:
    """Return 0, 1 .. for each count, one after the other: int64 [sum of the counts]."""
    ends = np.cumsum(counts, dtype=np.int64)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts, counts)
