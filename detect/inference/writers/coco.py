"""Detections in COCO's results format, which COCO's evaluation and evaluate.py read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from detect.inference.writers.base import IMAGES, Part, Source, Writer
from detect.inference.writers.json_list import JsonList
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.structures.detections_json import shortest


class CocoWriter(Writer):
    """Writes ``detections_coco.json``, or ``VIDEO_coco.json`` for the frames of a video that were detected.

    The document is a list with one entry per detection (https://cocodataset.org/#format-results), on a line of its
    own::

        {"image_id": 139, "category_id": 7, "bbox": [x, y, width, height], "score": 0.97,
         "segmentation": {"size": [H, W], "counts": text},
         "file_name": "val/000000000139.jpg", "category_name": "kite"}

    image_id: ``Source.image_id``. Annotations may number the images differently, so evaluate.py finds an image by its
        ``file_name``.
    category_id: id of the class in the training annotations.
    segmentation: from models with masks; with the mask format "polygons", a list of polygons [x0, y0, x1, y1, ...].
    keypoints: from models with keypoints, [x, y, score, x, y, score, ...].
    file_name, category_name: path of the image, or ``STEM_NUMBER.jpg`` for a frame, and name of the class. These are
        additions to the format.
    """

    help = "also write the detections in COCO's results format: detections_coco.json, VIDEO_coco.json for videos"

    def __init__(self, class_names: ClassNames, stem: str = IMAGES, mask_format: str | None = None) -> None:
        super().__init__(class_names, stem, mask_format)
        self._list = JsonList(f"{stem}_coco.json")
        self._num_images = 0

    def add(self, source: Source, detections: Detections) -> Iterable[Part]:
        if not source.detected:
            return ()
        self._num_images += 1
        position = self._num_images if source.frame is None else source.frame
        rows = replace(detections, class_names=self.class_names).to_coco(
            position if source.image_id is None else source.image_id, mask_format=self.mask_format
        )
        name = source.name if source.frame is None else f"{source.file_stem}.jpg"
        for i, (row, label) in enumerate(zip(rows, detections.labels.tolist(), strict=True)):
            if detections.keypoints is not None:
                row["keypoints"] = [shortest(value) for value in detections.keypoints[i].ravel()]
            row |= {"file_name": name, "category_name": self.class_names.name(label)}
        return self._list.add(rows)

    def finish(self) -> Iterable[Part]:
        return self._list.finish()
