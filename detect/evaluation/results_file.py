"""Detections of other programs' models: a JSON file in COCO's results format becomes one Detections per image."""

from __future__ import annotations

import msgspec
import numpy as np

from detect.data.spec import DatasetSpec
from detect.data.table import Table
from detect.errors import DataError
from detect.evaluation import results_checks
from detect.evaluation.results_classes import label_of_each_row
from detect.evaluation.results_images import image_of_each_row
from detect.evaluation.results_rows import Results
from detect.progress import bar, warn
from detect.structures import masks
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.structures.masks import Rle
from detect.text import counted

_MANY = 20_000  # masks from which a progress bar is shown
_NO_MASK = (b"null", b"[]", b"{}")


def detections_of(
    results: Results,
    spec: DatasetSpec,
    split: str,
    class_names: ClassNames,
    records: Table,
    *,
    max_detections: int | None = None,
    limit: int = 100,
) -> list[Detections]:
    """Return the detections in every image of ``records``, with labels of the dataset's ``class_names``.

    results: as in ``results_rows.read_rows``.
    spec, split, class_names, records: the dataset, and what ``spec.read(split)`` returns.
    max_detections: maximum number of detections per image, those with the highest scores; None for all.
    limit: number of detections per image and class that will be scored, for a warning.

    Images and classes are matched as ``results_images`` and ``results_classes`` describe. There are masks if every
    detection has one; a missing box is computed from the mask. Suspicious content, such as boxes that look like xyxy,
    is a warning. Raises DataError for unknown images and categories, scores outside 0..1 and invalid boxes or masks;
    UsageError if the file and the dataset have no class in common.
    """
    scores = results_checks.check_scores(results)
    images = image_of_each_row(results, spec, split, records)
    labels = label_of_each_row(results, spec, split, class_names)
    kept = np.flatnonzero((images >= 0) & (labels > 0))
    if left_out := int((images < 0).sum()):
        warn(f"{results.path}: {counted(left_out, 'detection')} in images that were left out are ignored")
    image_hw = records.image_hw[images[kept]]
    rles = _masks(results, kept, image_hw)
    boxes_xywh = _boxes(results, kept, rles)
    results_checks.check_boxes(results, boxes_xywh)
    if problem := results_checks.outside_image(boxes_xywh, image_hw):
        warn(f"{results.path}: {problem}")
    boxes = np.concatenate([boxes_xywh[:, :2], boxes_xywh[:, :2] + boxes_xywh[:, 2:]], axis=1).astype(np.float32)
    scores, labels = scores[kept], labels[kept]
    found = []
    for image, rows in enumerate(_by_image(images[kept], scores, len(records))):
        height, width = records.image_hw[image].tolist()
        one = Detections(
            (height, width),
            boxes[rows],
            scores[rows].astype(np.float32),
            labels[rows],
            None if rles is None else [rles[row] for row in rows.tolist()],
            class_names=class_names,
        )
        found.append(one[:max_detections])
    shifted = results_checks.shifted_ids(records, found, class_names)
    for remark in (*([shifted] if shifted else []), *results_checks.remarks(found, scores, limit)):
        warn(f"{results.path}: {remark}")
    return found


def _by_image(images: np.ndarray, scores: np.ndarray, count: int) -> list[np.ndarray]:
    """Return the rows of each of ``count`` images by descending score; rows of equal score keep their order."""
    order = np.lexsort((-scores, images))
    return np.split(order, np.cumsum(np.bincount(images, minlength=count))[:-1])


def _masks(results: Results, kept: np.ndarray, image_hw: np.ndarray) -> list[Rle] | None:
    """Return the masks of the rows ``kept``, None unless every row of the file has one.

    image_hw: int [len(kept), 2].  Raises DataError for an invalid mask and one of another size than its image.
    """
    missing = sum(bytes(row.segmentation) in _NO_MASK for row in results.rows)
    if missing:
        if missing < len(results.rows):
            have = "has" if missing == 1 else "have"
            part = f"{missing} of {counted(len(results.rows), 'detection')}"
            warn(f"{results.path}: {part} {have} no mask, so only boxes are evaluated")
        return None
    rles = []
    pairs = zip(kept.tolist(), map(tuple, image_hw.tolist()), strict=True)
    for row, hw in bar(list(pairs), desc=f"reading {results.path.name}", min_items=_MANY):
        try:
            rles.append(masks.from_coco(msgspec.json.decode(results.rows[row].segmentation), hw))
        except (ValueError, OverflowError) as error:
            raise DataError(f"{results.path}: {results.where(row)} has an invalid mask: {error}") from None
    return rles


def _boxes(results: Results, kept: np.ndarray, rles: list[Rle] | None) -> np.ndarray:
    """Return the boxes of the rows ``kept``, float64 [len(kept), 4], xywh. Raises DataError for a missing box."""
    boxes_xywh = np.zeros((len(kept), 4))
    for number, row in enumerate(kept.tolist()):
        bbox = results.rows[row].bbox
        if not bbox and rles is not None:
            x0, y0, x1, y1 = masks.box(rles[number]).tolist()
            bbox = [x0, y0, x1 - x0, y1 - y0]
        if bbox is None or len(bbox) != 4:
            raise DataError(
                f"{results.path}: {results.where(row)} has the bbox {bbox}; expected [x, y, width, height]"
            )
        boxes_xywh[number] = bbox
    return boxes_xywh
