"""Draws trails and the count line on the frames of a video while its tracks are collected."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from detect.inference.tracking.track_table import TrackTable
from detect.inference.writers.base import Source
from detect.media.palette import color
from detect.media.track_drawing import draw_count_line, draw_trail
from detect.structures.detections import Detections

TRAIL_SECONDS = 2.0


class TrackOverlay:
    """An ``Overlay`` for ``write_annotated_video`` that passes the tracks of each frame to a ``TrackTable``.

    A trail connects the centers of the boxes of an object during the last two seconds, in the color of its track.
    """

    def __init__(self, table: TrackTable) -> None:
        self.table = table
        # Track id -> (time in s, center as fractions of width and height, since the size of the frames may change).
        self._trails: dict[int, deque[tuple[float, np.ndarray]]] = {}

    def __call__(self, canvas: np.ndarray, source: Source, detections: Detections) -> Sequence[str]:
        """Draw on ``canvas``, uint8 RGB [H, W, 3], before the tracked ``detections``, and return the counts."""
        if source.detected:
            self.table.add(source, detections)
            self._extend_trails(source.time, detections)
        size = np.array(canvas.shape[1::-1])  # width, height
        assert detections.track_ids is not None
        for track_id in detections.track_ids.tolist():
            draw_trail(canvas, [center * size for _, center in self._trails[track_id]], color(track_id - 1))
        if self.table.line is None:
            return ()
        scale = size / self.table.frame_hw[::-1]
        start, end = (np.array(point) * scale for point in (self.table.line.start, self.table.line.end))
        draw_count_line(canvas, start, end)
        return self.table.counts_in_words()

    def _extend_trails(self, time: float, detections: Detections) -> None:
        assert detections.track_ids is not None
        size = np.array(detections.image_hw[::-1])
        centers = (detections.boxes[:, :2] + detections.boxes[:, 2:]) / 2 / size
        for track_id, center in zip(detections.track_ids.tolist(), centers, strict=True):
            self._trails.setdefault(track_id, deque()).append((time, center))
        for track_id, trail in list(self._trails.items()):
            while trail and trail[0][0] < time - TRAIL_SECONDS:
                trail.popleft()
            if not trail:
                del self._trails[track_id]
