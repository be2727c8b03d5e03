"""The tracks of a video, one row each: when and where the object was detected, and how it crossed the count line."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from detect.inference.tracking.count_line import CountLine, LineCounter
from detect.inference.writers.base import Source
from detect.io.files import fit_file_name, write_text
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections


@dataclass(frozen=True)
class _Sight:
    """A detection of an object. time: of the frame, in seconds.  box: xyxy in pixels of the frame."""

    frame: int
    time: float
    box: list[float]

    def columns(self, prefix: str) -> dict[str, Any]:
        return {f"{prefix}_frame": self.frame, f"{prefix}_time": self.time, f"{prefix}_box_xyxy": self.box}


@dataclass
class _Object:
    """One track.

    first, last: its first and last detection.
    detections, score_sum, max_score: number of its detections, and sum and maximum of their scores.
    crossings: how it crossed the count line.
    """

    label: int
    first: _Sight
    last: _Sight
    detections: int = 0
    score_sum: float = 0.0
    max_score: float = 0.0
    crossings: list[dict[str, Any]] = field(default_factory=list)


class TrackTable:
    """Collects the tracks of a video.

    ``VIDEO_tracks.json`` is one document::

        {"tracks": [{"track_id": 1, "name": "balloon", "category_id": 1, "detections": 130, "mean_score": 0.97,
                     "max_score": 0.99, "first_frame": 0, "first_time": 0.0, "first_box_xyxy": [...],
                     "last_frame": 129, "last_time": 5.375, "last_box_xyxy": [...],
                     "crossings": [{"direction": "up", "frame": 31, "time": 1.291667}]}],
         "count_line": {"xyxy": [0, 180, 640, 180], "counts": {"balloon": {"down": 0, "up": 8}}}}

    detections: number of frames in which the object was detected.
    *_time: seconds since the beginning of the video.
    *_box_xyxy: [x_min, y_min, x_max, y_max] in pixels of the frame.
    count_line: null without one; else its points, and the crossings of all objects per class and direction.

    ``VIDEO_tracks.csv`` has one row per track with the same fields, except for boxes and crossings, and a column per
    direction with the number of crossings.

    line: counts the objects that cross it; None for no line.
    frame_hw: (height, width) of the first frame, in whose pixels the line is given.

    Raises UsageError for a line outside of that frame.

    Attributes:
    frames: number of frames that were added.
    counts: number of crossings of the line, class name -> direction -> number, for classes with tracks; empty without
        a line.
    """

    def __init__(self, class_names: ClassNames, line: CountLine | None, frame_hw: tuple[int, int]) -> None:
        if line is not None:
            line.check_inside(frame_hw)
        self.class_names, self.line, self.frame_hw = class_names, line, frame_hw
        self._counter = None if line is None else LineCounter(line)
        self._objects: dict[int, _Object] = {}
        self.counts: dict[str, dict[str, int]] = {}
        self.frames = 0

    def __len__(self) -> int:
        return len(self._objects)

    def add(self, source: Source, detections: Detections) -> None:
        """Add the tracked detections of a frame."""
        assert detections.track_ids is not None and source.frame is not None
        self.frames += 1
        (height, width), (first_height, first_width) = detections.image_hw, self.frame_hw
        scale = [first_width / width, first_height / height] * 2
        columns = zip(
            detections.track_ids.tolist(), detections.labels.tolist(), detections.scores.tolist(), strict=True
        )
        for (track_id, label, score), box in zip(columns, detections.boxes, strict=True):
            sight = _Sight(source.frame, round(source.time, 6), [float(str(v)) for v in box])
            track = self._objects.setdefault(track_id, _Object(label, sight, sight))
            track.last = sight
            track.detections += 1
            track.score_sum += score
            track.max_score = max(track.max_score, score)
            if self._counter is not None:
                self._count(track, sight, self._counter.add(track_id, box * scale))

    def counts_in_words(self) -> list[str]:
        """Return one text for each class in ``counts``, such as ``balloon: 0 down, 8 up``."""
        return [
            f"{name}: {', '.join(f'{number} {direction}' for direction, number in of_class.items())}"
            for name, of_class in self.counts.items()
        ]

    def save(self, folder: Path, stem: str) -> None:
        """Write ``STEM_tracks.json`` and ``STEM_tracks.csv``. Raises DiskError."""
        rows = [self._row(track_id, track) for track_id, track in sorted(self._objects.items())]
        line = self.line and {"xyxy": [*self.line.start, *self.line.end], "counts": self.counts}
        document = json.dumps({"tracks": rows, "count_line": line}, ensure_ascii=False)
        write_text(folder / fit_file_name(stem, "_tracks.json"), f"{document}\n")
        write_text(folder / fit_file_name(stem, "_tracks.csv"), self._csv(rows))

    def _count(self, track: _Object, sight: _Sight, direction: str | None) -> None:
        of_class = self.counts.setdefault(self.class_names.name(track.label), dict.fromkeys(self._directions, 0))
        if direction is not None:
            of_class[direction] += 1
            track.crossings.append({"direction": direction, "frame": sight.frame, "time": sight.time})

    @property
    def _directions(self) -> list[str]:
        return sorted(self.line.directions) if self.line else []

    def _row(self, track_id: int, track: _Object) -> dict[str, Any]:
        return {
            "track_id": track_id,
            "name": self.class_names.name(track.label),
            "category_id": self.class_names.category_id(track.label),
            "detections": track.detections,
            "mean_score": round(track.score_sum / track.detections, 4),
            "max_score": round(track.max_score, 4),
            **track.first.columns("first"),
            **track.last.columns("last"),
            "crossings": track.crossings,
        }

    def _csv(self, rows: list[dict[str, Any]]) -> str:
        columns = (
            *("track_id", "name", "category_id", "detections", "mean_score", "max_score"),
            *("first_frame", "first_time", "last_frame", "last_time"),
        )
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*columns, *self._directions])
        for row in rows:
            crossed = [crossing["direction"] for crossing in row["crossings"]]
            writer.writerow([*map(row.get, columns), *map(crossed.count, self._directions)])
        return text.getvalue()
