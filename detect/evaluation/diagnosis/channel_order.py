"""Finds out whether a model expects images with red and blue swapped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from detect.evaluation import coco_metrics
from detect.evaluation.analysis import Analysis
from detect.evaluation.coco_metrics import Scores
from detect.evaluation.detection_limit import STANDARD_LIMIT
from detect.evaluation.diagnosis.finding import Finding, Severity, fine
from detect.evaluation.predict import EVALUATION_THRESHOLD, BatchDetector, detect_for_dataset, only_readable
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.structures.image_record import ImageRecord

MAX_IMAGES = 16
MIN_GAIN = 0.05  # of AP50; a smaller gain can be chance on so few images


def check_channel_order(analysis: Analysis) -> Iterator[Finding]:
    """Yield whether AP50 rises when red and blue are swapped, on at most 16 images with objects."""
    one = analysis.evaluation
    if one.predictor is None:
        return
    with_objects = np.unique(analysis.table.gt_image[analysis.is_object]).tolist()
    rows = with_objects[:: -(-len(with_objects) // MAX_IMAGES) or 1]
    records = [one.records[i] for i in rows]
    orders = compare_channel_orders(
        one.predictor, records, [one.detections[i] for i in rows], one.class_names, limit=analysis.limit
    )
    as_read, as_swapped = orders.as_read["AP50"] or 0.0, orders.swapped["AP50"] or 0.0
    where = f"on {orders.images} of the images"
    if as_swapped >= as_read + MIN_GAIN:
        yield Finding(
            Severity.PROBLEM,
            "The model was probably trained on BGR images",
            f"With red and blue swapped the model is better: AP50 {as_swapped:.2f} instead of {as_read:.2f} {where}.",
            "Images are given to the model as RGB. To repair it, exchange red and blue in the input weights of its"
            " first layer and in `mean` and `std` of its architecture; or train it again on RGB images. OpenCV's"
            " `imread` gives BGR.",
        )
    elif as_read > 0:
        yield fine(
            "Channel order", f"With red and blue swapped AP50 is {as_swapped:.2f} instead of {as_read:.2f} {where}."
        )


@dataclass(frozen=True)
class ChannelOrders:
    """COCO's metrics of boxes for images as they are read (RGB), and with red and blue swapped.

    as_read, swapped: metrics by name, as in ``coco_metrics.score``.  images: number of images that could be read.
    """

    as_read: Scores
    swapped: Scores
    images: int


def compare_channel_orders(
    predictor: BatchDetector,
    records: Sequence[ImageRecord],
    detections: Sequence[Detections],
    class_names: ClassNames,
    *,
    limit: int = STANDARD_LIMIT,
) -> ChannelOrders:
    """Run a model on images with swapped channels.

    records: images with objects.  detections: of the images as they are read, with labels of ``class_names``.
    limit: number of detections per image and class that are scored.
    """
    found = detect_for_dataset(
        predictor,
        records,
        class_names,
        threshold=EVALUATION_THRESHOLD,
        title="check channel order",
        change_image=lambda image: np.ascontiguousarray(image[..., ::-1]),
    )
    readable, swapped = only_readable(records, found)
    usual = [one for one, other in zip(detections, found, strict=True) if other is not None]
    as_read, as_swapped = (
        coco_metrics.score(readable, every, class_names, limit=limit)["bbox"] for every in (usual, swapped)
    )
    return ChannelOrders(as_read, as_swapped, images=len(readable))
