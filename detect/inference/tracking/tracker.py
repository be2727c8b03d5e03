"""ByteTrack: gives the same number to the same object in all frames of a video.

Y. Zhang et al., "ByteTrack: Multi-Object Tracking by Associating Every Detection Box", ECCV 2022,
https://arxiv.org/abs/2110.06864. Objects move with nearly constant velocity (``BoxFilter``), and a detection belongs
to the object whose predicted box it overlaps most. Detections with low scores, such as those of half-hidden objects,
continue tracks and never start one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from detect.errors import UsageError
from detect.inference.tracking.box_filter import BoxFilter
from detect.options import check_number, check_threshold, suggest_keywords
from detect.structures.detections import Detections

LOW_THRESHOLD = 0.3  # 0.1 in the paper, but of the boxes of an R-CNN that score so little, most are false positives
MAX_LOST = 1.0  # seconds
_RATE = 30.0  # frames per second for which the paper's values, here and in BoxFilter, were chosen
# Highest cost, which is 1 - IoU, of a detection and a track that belong together; the values of the paper's code.
_MAX_COST = 0.8
_MAX_COST_LOW_SCORE = 0.5
_MAX_COST_UNCONFIRMED = 0.7
_DUPLICATE_IOU = 0.85  # of two tracks that follow one object


@dataclass(eq=False)
class _Track:
    """One object.

    label: its class, 1..K.
    filter: predicts its box.
    number: its track id; 0 until a second detection confirms the track.
    age: seconds since its first detection.
    lost: seconds since its last detection.
    """

    label: int
    filter: BoxFilter
    number: int = 0
    age: float = 0.0
    lost: float = 0.0


@dataclass
class _Frame:
    """Detections of a frame, and the tracks that they were assigned to.

    free: indices of the detections without a track, in ascending order.
    tracks: index of a detection -> its track.
    """

    detections: Detections
    free: np.ndarray
    tracks: dict[int, _Track] = field(default_factory=dict)


class Tracker:
    """Follows the objects of one video.

        tracker = detect.Tracker(model.class_thresholds)
        for image in frames:
            tracked = tracker.update(model(image, threshold=tracker.low_threshold))
            print(tracked.track_ids, tracked.boxes)

    Only detections of the same class can be the same object. A track begins with detections in two consecutive updates
    (in the first update, with one), so that a single false positive gets no track id. Track ids are 1, 2, 3 ...;
    none is used twice.

    threshold: score from which a detection starts a track, 0..1: one for all classes, or one for each by name, such as
        ``Predictor.class_thresholds``.
    low_threshold: score from which a detection continues a track, 0..1. Run the model with this threshold, since
        half-hidden objects have low scores.
    max_lost: seconds for which an object that is not detected keeps its track id.

    Raises UsageError for a threshold outside 0..1 and a negative ``max_lost``.
    """

    @suggest_keywords
    def __init__(
        self,
        threshold: float | Mapping[str, float] = 0.5,
        *,
        low_threshold: float = LOW_THRESHOLD,
        max_lost: float = MAX_LOST,
    ) -> None:
        for value in threshold.values() if isinstance(threshold, Mapping) else [threshold]:
            check_threshold(value)
        check_number("low_threshold", low_threshold, float, 0, 1)
        check_number("max_lost", max_lost, float, 0)
        self.threshold, self.low_threshold, self.max_lost = threshold, low_threshold, max_lost
        self._tracks: list[_Track] = []
        self._count = 0  # of track ids
        self._is_first = True
        self._time: float | None = None
        self._image_hw: tuple[int, int] | None = None

    def update(self, detections: Detections, time: float | None = None) -> Detections:
        """Return those detections of a frame that belong to a track, with their ``track_ids``, int64 [N].

        detections: those of the frame with a score of at least ``low_threshold``; others are ignored.
        time: time of the frame in seconds from any origin; by default 1/30 s after the previous one.

        The size of the frames may change. Raises UsageError for a time that is not after the previous one, and for a
        class without a threshold.
        """
        confident = np.flatnonzero(detections.scores >= self._thresholds(detections))
        seconds = self._advance(time, detections.image_hw)
        frame = _Frame(detections, confident)
        # First all confirmed tracks; then, with low scores, those that were not lost before; then the new tracks.
        known = [track for track in self._tracks if track.number]
        rest = self._match(known, frame, _MAX_COST, with_scores=True)
        low = np.setdiff1d(np.flatnonzero(detections.scores >= self.low_threshold), confident)
        confident, frame.free = frame.free, low
        self._match([track for track in rest if track.lost == seconds], frame, _MAX_COST_LOW_SCORE)
        frame.free = confident
        new = [track for track in self._tracks if not track.number]
        never_again = self._match(new, frame, _MAX_COST_UNCONFIRMED, with_scores=True)
        self._tracks = [t for t in self._tracks if t not in never_again and t.lost <= self.max_lost]
        self._start(frame)
        self._remove_duplicates()
        kept = [i for i, track in sorted(frame.tracks.items()) if track.number]
        return replace(detections[kept], track_ids=np.array([frame.tracks[i].number for i in kept], np.int64))

    def _advance(self, time: float | None, image_hw: tuple[int, int]) -> float:
        """Predict all tracks for the next frame, and return the seconds since the previous one."""
        seconds = 1 / _RATE if time is None or self._time is None else time - self._time
        if not seconds > 0:
            raise UsageError(f"`time={time}` must be after the time of the previous frame, {self._time}")
        ratio = None if self._image_hw in (None, image_hw) else np.divide(image_hw, self._image_hw)[::-1]
        for track in self._tracks:
            if ratio is not None:
                track.filter.rescale(ratio)
            track.filter.predict(seconds * _RATE, keep_size=track.lost > 0)
            track.age += seconds
            track.lost += seconds  # 0 again with a detection
        self._time, self._image_hw = time, image_hw
        return seconds

    def _thresholds(self, detections: Detections) -> np.ndarray:
        """Return the score from which each detection starts a track, float32 [N]."""
        if not isinstance(self.threshold, Mapping):
            return np.full(len(detections), self.threshold, np.float32)
        if missing := sorted(set(detections.names) - set(self.threshold)):
            raise UsageError(f"`threshold` has no minimum score for {missing[0]}")
        return np.array([self.threshold[name] for name in detections.names], np.float32)

    def _match(
        self, tracks: Sequence[_Track], frame: _Frame, max_cost: float, *, with_scores: bool = False
    ) -> list[_Track]:
        """Assign free detections to tracks, and return the tracks that got none.

        with_scores: whether the IoU is multiplied by the score, to prefer the higher score among equal boxes.
        """
        found = frame.detections[frame.free]
        overlaps = _overlaps(_boxes(tracks), _labels(tracks), found.boxes, found.labels)
        pairs = _assignment(1 - (overlaps * found.scores if with_scores else overlaps), max_cost)
        for row, column in pairs:
            track, i = tracks[row], int(frame.free[column])
            track.filter.update(frame.detections.boxes[i])
            track.lost = 0.0
            track.number = track.number or self._new_number()
            frame.tracks[i] = track
        frame.free = np.delete(frame.free, [column for _, column in pairs])
        return [track for track in tracks if track.lost]

    def _start(self, frame: _Frame) -> None:
        """Start a track with each free detection."""
        for i in frame.free.tolist():
            track = _Track(int(frame.detections.labels[i]), BoxFilter(frame.detections.boxes[i]))
            track.number = self._new_number() if self._is_first else 0
            frame.tracks[i] = track
            self._tracks.append(track)
        self._is_first = False

    def _new_number(self) -> int:
        self._count += 1
        return self._count

    def _remove_duplicates(self) -> None:
        """If a lost track and another one follow the same object, remove the younger of them."""
        lost = [track for track in self._tracks if track.lost]
        seen = [track for track in self._tracks if not track.lost]
        overlaps = _overlaps(_boxes(lost), _labels(lost), _boxes(seen), _labels(seen))
        for row, column in np.argwhere(overlaps > _DUPLICATE_IOU):
            younger = min(lost[row], seen[column], key=lambda track: track.age)
            self._tracks = [track for track in self._tracks if track is not younger]


def _boxes(tracks: Sequence[_Track]) -> np.ndarray:
    """Return the predicted boxes of the tracks, [T, 4], xyxy in pixels."""
    return np.array([track.filter.box for track in tracks]).reshape(-1, 4)


def _labels(tracks: Sequence[_Track]) -> np.ndarray:
    return np.array([track.label for track in tracks], np.int64)


def _overlaps(boxes: np.ndarray, labels: np.ndarray, others: np.ndarray, other_labels: np.ndarray) -> np.ndarray:
    """Return the IoU of each of A boxes with each of B others, [A, B]; 0 for different labels."""
    corners = np.maximum(boxes[:, None, :2], others[None, :, :2]), np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    intersection = np.clip(corners[1] - corners[0], 0, None).prod(axis=2)
    areas = ((one[:, 2:] - one[:, :2]).prod(axis=1) for one in (boxes, others))
    union = np.add.outer(*areas) - intersection
    iou = np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)
    return np.where(labels[:, None] == other_labels, iou, 0)


def _assignment(costs: np.ndarray, max_cost: float) -> list[tuple[int, int]]:
    """Return the (row, column) pairs with the lowest sum of costs; no pair costs more than ``max_cost``."""
    # Beyond the limit all pairs cost the same, so that none of them changes the choice of the others.
    rows, columns = linear_sum_assignment(np.minimum(costs, max_cost + 1e-6))
    return [(r, c) for r, c in zip(rows.tolist(), columns.tolist(), strict=True) if costs[r, c] <= max_cost]
