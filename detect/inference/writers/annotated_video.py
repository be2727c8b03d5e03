"""Videos with the detections of each frame drawn on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from detect.inference.writers.base import Source
from detect.inference.writers.files import DetectionFiles
from detect.media.drawing import draw, gray_around
from detect.media.video_decoder import Frame
from detect.media.video_reader import VideoReader
from detect.media.video_writer import VideoWriter, letterbox
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections


@dataclass(frozen=True)
class VideoSummary:
    """The outcome of ``write_annotated_video``.

    frames: number of frames written.
    interrupted: whether Ctrl-C ended the work early. The frames so far are kept.
    """

    frames: int
    interrupted: bool


def write_annotated_video(
    video: VideoReader,
    frames: Iterable[Frame],
    detect: Callable[[np.ndarray], Detections],
    class_names: ClassNames,
    out: Path,
    *,
    stride: int = 1,
    formats: Iterable[str] = (),
    gray: bool = False,
) -> VideoSummary:
    """Write an annotated copy of ``video`` with its sound.

    frames: the frames of the video to process, in order.
    detect: returns the Detections of an image (uint8 RGB [H, W, 3]). It is called for every ``stride``-th frame and
        for frames whose size differs from the previous one; the frames in between repeat the previous detections.
    out: file of the annotated copy, .mp4.
    formats: names in FORMATS; their files are written beside ``out`` under its name, such as ``out.jsonl``.
    gray: whether everything outside the objects loses its color.

    A frame of another size than the first is drawn at its own size and then letterboxed to that of the first.
    KeyboardInterrupt ends the video early and keeps the frames so far. Before the end of the first frame it is raised.
    """
    detections, interrupted = Detections(video.size_hw), False
    with (
        DetectionFiles(out.parent, class_names, formats, out.stem) as files,
        VideoWriter(out, video.fps, video.size_hw, sound_from=video.sound) as output,
    ):
        try:
            for index, frame in enumerate(frames):
                detected = index % stride == 0 or frame.hw != detections.image_hw
                if detected:
                    detections = detect(frame.image)
                background = gray_around(frame.image, detections) if gray else frame.image
                drawn = draw(background, detections, class_names, color_instances=False, tint=not gray)
                output.write(letterbox(drawn, video.size_hw), frame.time, frame.duration)
                files.write(Source(out.stem, frame.image, index, float(frame.time), detected), detections)
        except KeyboardInterrupt:
            if output.frames == 0:
                raise
            interrupted = True
    return VideoSummary(output.frames, interrupted)
