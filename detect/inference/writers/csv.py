"""Detections as CSV, for spreadsheets and pandas."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from io import StringIO

from detect.inference.writers.base import IMAGES, Part, Source, Writer
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.structures.detections_json import shortest

_IMAGE = ("image",)
_FRAME = ("frame", "time", "detected")
_COLUMNS = ("name", "category_id", "score", "x_min", "y_min", "x_max", "y_max", "image_width", "image_height")


class CsvWriter(Writer):
    """Writes ``detections.csv``, or ``VIDEO.csv`` for a video, with one line per detection.

    Images have the column ``image``, the path of the image. Frames have ``frame`` (number, from 0), ``time`` (in
    seconds), ``detected`` (false where the detections of an earlier frame are repeated) and ``track_id`` (empty
    without tracking). Coordinates are pixels of the original image. An image without detections has no line.
    """

    help = "also write the detections as CSV: detections.csv for images, VIDEO.csv for videos"

    def __init__(self, class_names: ClassNames, stem: str = IMAGES, mask_format: str | None = None) -> None:
        super().__init__(class_names, stem, mask_format)
        self._has_header = False

    def add(self, source: Source, detections: Detections) -> Iterable[Part]:
        is_image = source.frame is None
        rows = [] if self._has_header else [_header(is_image)]
        self._has_header = True
        origin = [source.name] if is_image else [source.frame, round(source.time, 6), str(source.detected).lower()]
        rows += [origin + row for row in self._rows(detections, not is_image)]
        content = StringIO()
        csv.writer(content, lineterminator="\n").writerows(rows)
        return [Part(f"{self.stem}.csv", content.getvalue().encode(errors="backslashreplace"))] if rows else []

    def _rows(self, detections: Detections, with_track: bool) -> Iterable[list[object]]:
        height, width = detections.image_hw
        for i, label in enumerate(detections.labels.tolist()):
            numbers = [shortest(value) for value in (detections.scores[i], *detections.boxes[i])]
            row = [self.class_names.name(label), self.class_names.category_id(label), *numbers, width, height]
            if with_track:
                row.append("" if detections.track_ids is None else int(detections.track_ids[i]))
            yield row


def _header(is_image: bool) -> list[object]:
    return [*_IMAGE, *_COLUMNS] if is_image else [*_FRAME, *_COLUMNS, "track_id"]
