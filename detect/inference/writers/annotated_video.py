"""Videos with the detections of each frame drawn on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from detect.inference.pipeline import ReadAhead, Stage
from detect.inference.tracking.track_table import TrackTable
from detect.inference.writers.base import Source
from detect.inference.writers.files import DetectionFiles
from detect.media.drawing import draw, gray_around
from detect.media.drawing_style import DrawingStyle
from detect.media.video_decoder import Frame
from detect.media.video_reader import VideoReader
from detect.media.video_writer import VideoWriter, letterbox
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections

Detect = Callable[[Sequence[Frame]], Sequence[Detections]]
"""Returns the Detections of each of the given frames, in pixels of the frame."""
Overlay = Callable[[np.ndarray, Source, Detections], Sequence[str]]
"""Draws on a frame, uint8 RGB [H, W, 3], below its detections, and returns lines of text for its upper left corner.

It is called for each frame, in order."""

_READ_AHEAD = 4  # frames
_MAX_HELD = 32  # maximum number of frames that wait until a batch is full


@dataclass(frozen=True)
class VideoSummary:
    """The outcome of ``write_annotated_video`` and ``annotate_video``.

    frames: number of frames written.
    detections, frames_with_detections: number of detections in them, and of frames that have any. Detections that
        ``stride`` repeats count in each of their frames, as in the files.
    interrupted: whether Ctrl-C ended the work early. The frames so far are kept.
    tracks: the objects that were tracked; None without tracking.
    """

    frames: int
    detections: int
    frames_with_detections: int
    interrupted: bool
    tracks: TrackTable | None = None


@dataclass(frozen=True)
class _Result:
    """A frame with its detections. source: describes it to the writers."""

    frame: Frame
    source: Source
    detections: Detections


_Drawn = tuple[_Result, np.ndarray]  # with the image to write, uint8 RGB [H, W, 3] of the size of the first frame


def frames_ahead(video: VideoReader, batch_size: int = 1) -> ReadAhead[Frame]:
    """Return a context manager that iterates over the frames of a video, which a thread of its own decodes in advance.

    Of a camera or live stream, the newest frame is taken when it is needed.
    """
    return ReadAhead(video, 0 if video.live else max(_READ_AHEAD, batch_size))


def write_annotated_video(
    video: VideoReader,
    frames: Iterable[Frame],
    detect: Detect,
    class_names: ClassNames,
    out: Path,
    *,
    stride: int = 1,
    batch_size: int = 1,
    formats: Iterable[str] = (),
    mask_format: str | None = None,
    gray: bool = False,
    style: DrawingStyle | None = None,
    overlay: Overlay | None = None,
    show: Callable[[np.ndarray], object] | None = None,
) -> VideoSummary:
    """Write an annotated copy of ``video`` with its sound.

    Drawing and writing overlap with reading and detection: ``frames`` and ``detect`` run in the calling thread,
    ``overlay`` in a second one, ``show`` and all files in a third one. See ``frames_ahead`` for decoding.

    frames: the frames of the video to process, in order.
    detect: called with up to ``batch_size`` frames: every ``stride``-th one, and frames whose size differs from the
        previous one. The frames in between repeat the previous detections.
    out: file of the annotated copy, .mp4.
    formats: names in FORMATS; their files are written beside ``out`` under its name, such as ``out.jsonl``.
    mask_format: "rle" or "polygons", for masks in the formats that have both.
    gray: whether everything outside the objects loses its color.
    style: what is drawn on the frames, and how.
    show: called with each frame as it is written, uint8 RGB [H, W, 3] of the size of the first frame.

    A frame of another size than the first is drawn at its own size and then letterboxed to that of the first.
    KeyboardInterrupt ends the video early and keeps the frames so far; before the end of the first frame it is raised.
    Any other exception, in any thread, ends the work; the frames so far are kept in a file as described in
    ``VideoWriter``.
    """

    def draw_frame(result: _Result) -> None:
        writing.put(drawn(result))

    drawn = _Drawing(video.size_hw, class_names, gray, style, overlay)
    interrupted = False
    with (
        DetectionFiles(out.parent, class_names, formats, out.stem, mask_format=mask_format) as files,
        VideoWriter(out, video.fps, video.size_hw, sound_from=video.sound) as output,
    ):
        write_frame = _Writing(output, files, show)
        try:
            with Stage(write_frame) as writing, Stage(draw_frame, max(2, batch_size)) as drawing:
                for result in _detected(frames, detect, out.stem, stride, batch_size):
                    drawing.put(result)
        except KeyboardInterrupt:
            if output.frames == 0:
                raise
            interrupted = True
    return VideoSummary(output.frames, write_frame.detections, write_frame.frames_with_detections, interrupted)


@dataclass(frozen=True)
class _Drawing:
    """Draws the detections on frames.  size_hw: (height, width) of the images to write."""

    size_hw: tuple[int, int]
    class_names: ClassNames
    gray: bool
    style: DrawingStyle | None
    overlay: Overlay | None

    def __call__(self, result: _Result) -> _Drawn:
        image, detections = result.frame.image, result.detections
        background = gray_around(image, detections) if self.gray else image
        captions: Sequence[str] = ()
        if self.overlay is not None:
            background = image.copy() if background is image else background
            captions = self.overlay(background, result.source, detections)
        drawn = draw(background, detections, self.class_names, self.style, tint=not self.gray, captions=captions)
        return result, letterbox(drawn, self.size_hw)


@dataclass
class _Writing:
    """Writes drawn frames and their detections, counts both, and shows the frames."""

    output: VideoWriter
    files: DetectionFiles
    show: Callable[[np.ndarray], object] | None
    detections: int = 0
    frames_with_detections: int = 0

    def __call__(self, drawn: _Drawn) -> None:
        result, image = drawn
        self.output.write(image, result.frame.time, result.frame.duration)
        self.files.write(result.source, result.detections)
        self.detections += len(result.detections)
        self.frames_with_detections += len(result.detections) > 0
        if self.show is not None:
            self.show(image)


def _detected(frames: Iterable[Frame], detect: Detect, name: str, stride: int, batch_size: int) -> Iterator[_Result]:
    """Yield each frame with its detections, in order."""
    held: list[tuple[Frame, Source]] = []
    former_hw, former = None, None
    for index, frame in enumerate(frames):
        is_detected = index % stride == 0 or frame.hw != former_hw
        former_hw = frame.hw
        held.append((frame, Source(name, frame.image, index, float(frame.time), is_detected)))
        waiting = sum(source.detected for _, source in held)
        if waiting in (0, batch_size) or len(held) == _MAX_HELD:
            yield from (results := _with_detections(held, detect, former))
            former, held = results[-1].detections, []
    yield from _with_detections(held, detect, former)


def _with_detections(held: Sequence[tuple[Frame, Source]], detect: Detect, former: Detections | None) -> list[_Result]:
    """Return the results of consecutive frames. former: detections of the frame before them; None for the first."""
    chosen = [frame for frame, source in held if source.detected]
    found = iter(detect(chosen) if chosen else ())
    results = []
    for frame, source in held:
        former = next(found) if source.detected else former
        assert former is not None  # the first frame of a video is detected
        results.append(_Result(frame, source, former))
    return results
