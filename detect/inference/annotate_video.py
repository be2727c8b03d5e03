"""Detect objects in a video, and save an annotated copy and the detections."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from detect.errors import DetectError
from detect.inference.class_selection import labels_of, loadable_models
from detect.inference.image_counters import LimitCounter, ShrinkCounter
from detect.inference.predictor import Predictor
from detect.inference.tracking.count_line import CountLine
from detect.inference.tracking.overlay import TrackOverlay
from detect.inference.tracking.track_table import TrackTable
from detect.inference.tracking.tracker import Tracker
from detect.inference.writers.annotated_video import VideoSummary, frames_ahead, write_annotated_video
from detect.media.drawing_style import DrawingStyle
from detect.media.video_decoder import Frame
from detect.media.video_reader import VideoReader
from detect.media.video_writer import part_file
from detect.media.window import Window
from detect.progress import RATE, bar, warn
from detect.structures.detections import Detections

GPU_BATCH_SIZE = 8  # frames


def annotate_video(
    predictor: Predictor,
    video: VideoReader,
    out: Path,
    *,
    classes: Iterable[str | int] | None = None,
    stride: int = 1,
    max_frames: int | None = None,
    batch_size: int | None = None,
    formats: Iterable[str] = (),
    mask_format: str | None = None,
    track: bool = False,
    count_line: CountLine | None = None,
    style: DrawingStyle | None = None,
    window: Window | None = None,
) -> VideoSummary:
    """Detect objects in the frames of a video and write an annotated copy with its sound.

    out: file of the annotated copy, .mp4.
    classes: names or category ids of the classes to keep; by default all.
    stride: the model runs on every ``stride``-th frame, and on frames whose size differs from the previous one; the
        frames in between repeat its detections.
    max_frames: number of frames after which to stop; by default the whole video.
    batch_size: number of frames per forward pass; by default 1 on a CPU and GPU_BATCH_SIZE on a GPU. Always 1 for a
        camera or live stream, whose frames would have to wait for each other.
    formats: names in FORMATS of further files to write beside ``out``, such as "json".
    mask_format: "rle" or "polygons", for masks in the formats that have both.
    track: give each object a number that it keeps, draw its trail, and write the files of ``TrackTable`` beside
        ``out``.
    count_line: count the objects that cross this line, which implies ``track``.
    style: what is drawn on the frames, and how.
    window: shows the frames; when its user closes it, the video ends.

    Decoding, detection, drawing and encoding overlap. Shows a progress bar, and warns where the size of the frames
    changes, where the video is damaged or ends early, and if the model reached its maximum number of detections in
    some frames.
    KeyboardInterrupt ends the video after the current frame; before the first frame it is raised.
    Raises UsageError for an unknown class or format and a line outside of the frames, MediaError for a video that
    cannot be decoded, and DiskError. The message names the file with the frames before the error.
    """
    batch_size = 1 if video.live else batch_size or default_batch_size(predictor)
    tracked = track or count_line is not None
    table = TrackTable(predictor.class_names, count_line, video.size_hw) if tracked else None
    with (
        _naming_kept_frames(out),
        _Detection(predictor, classes, tracked) as detection,
        frames_ahead(video, batch_size) as decoded,
        closing(_with_progress(video, decoded, max_frames, window)) as frames,
        _saved(table, out),
    ):
        summary = write_annotated_video(
            video,
            map(detection.counted, frames),
            detection,
            predictor.class_names,
            out,
            stride=stride,
            batch_size=batch_size,
            formats=formats,
            mask_format=mask_format,
            style=style,
            overlay=None if table is None else TrackOverlay(table),
            show=None if window is None else window.show,
        )
    if video.warning:
        warn(video.warning)
    return replace(summary, tracks=table)


def default_batch_size(predictor: Predictor) -> int:
    """Return the number of frames per forward pass that suits the device."""
    return 1 if predictor.device.type == "cpu" else GPU_BATCH_SIZE


class _Detection(ExitStack):
    """Detects objects in frames and, if ``tracked``, follows them.

    At the end of the ``with`` block, warns of frames that reached the limit or were shrunk too much.
    """

    def __init__(self, predictor: Predictor, classes: Iterable[str | int] | None, tracked: bool) -> None:
        super().__init__()
        self._predictor = predictor
        others = loadable_models(predictor.device.type)
        self._labels = None if classes is None else labels_of(predictor.class_names, classes, others)
        self._tracker = Tracker(predictor.class_thresholds) if tracked else None
        self._limit = self.enter_context(LimitCounter(predictor, "frame"))
        self._shrinking = self.enter_context(ShrinkCounter(predictor, "frame"))

    def counted(self, frame: Frame) -> Frame:
        """Return the frame, whose size is counted."""
        self._shrinking.add(frame.hw)
        return frame

    def __call__(self, frames: Sequence[Frame]) -> list[Detections]:
        images = [frame.image for frame in frames]
        tracker = self._tracker
        if tracker is None:
            results = self._predictor.predict_batch(images, self._labels)
            for found in results:
                self._limit.add(found)
            return results
        threshold = min(tracker.low_threshold, self._predictor.threshold)
        results = self._predictor.predict_batch(images, self._labels, threshold)
        for found in results:
            self._limit.add(found.filter(self._predictor.class_thresholds))
        return [tracker.update(found, float(frame.time)) for found, frame in zip(results, frames, strict=True)]


def _with_progress(
    video: VideoReader, decoded: Iterable[Frame], max_frames: int | None, window: Window | None
) -> Generator[Frame, None, None]:
    """Yield the frames to process and show a progress bar, until the user closes ``window``."""
    total = min(video.frame_count or sys.maxsize, max_frames or sys.maxsize)
    known: dict[str, Any] = {"total": total, "bar_format": RATE} if total < sys.maxsize else {}
    with bar(unit=" frames", leave=True, **known) as progress:
        for frame in _warning_of_sizes(video, islice(decoded, max_frames)):
            yield frame
            progress.update()
            if window is not None and not window.is_open:
                break


@contextmanager
def _saved(table: TrackTable | None, out: Path) -> Iterator[None]:
    """Save the tracks beside ``out`` when the block ends, also after an error if there are frames."""
    try:
        yield
    except BaseException:
        if table is not None and table.frames:
            with suppress(DetectError):  # the first error is the one to report
                table.save(out.parent, out.stem)
        raise
    if table is not None:
        table.save(out.parent, out.stem)


@contextmanager
def _naming_kept_frames(out: Path) -> Iterator[None]:
    """Add to the message of a DetectError which file has the frames before it."""
    try:
        yield
    except DetectError as error:
        part = part_file(out)
        if part.is_file() and str(part) not in str(error):
            raise type(error)(f"{error}; the frames before that are in {part}") from error
        raise


def _warning_of_sizes(video: VideoReader, frames: Iterable[Frame]) -> Iterator[Frame]:
    """Yield the frames of a video, and warn where their size changes."""
    former_hw = video.size_hw
    for index, frame in enumerate(frames):
        if frame.hw != former_hw:
            warn(f"{video.source.shown} changes from {_size(former_hw)} to {_size(frame.hw)} at frame {index}")
            former_hw = frame.hw
        yield frame


def _size(hw: tuple[int, int]) -> str:
    return f"{hw[1]}x{hw[0]} (width x height)"
