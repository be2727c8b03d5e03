"""Videos with the detections of each frame drawn on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
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


@dataclass
class AnnotatedVideo:
    """An annotated video that is being written.

    output: VideoWriter of the annotated frames.
    files: DetectionFiles for the detections of each frame.
    class_names: ClassNames of the labels.
    stride: the model runs on every ``stride``-th frame and on frames whose size differs from the previous one.
    gray: whether everything outside the objects loses its color.
    detections: Detections of the last frame on which the model ran.
    """

    output: VideoWriter
    files: DetectionFiles
    class_names: ClassNames
    stride: int
    gray: bool
    detections: Detections

    @property
    def frames(self) -> int:
        """Number of frames written so far."""
        return self.output.frames

    def write(self, frame: Frame, detect: Callable[[np.ndarray], Detections]) -> None:
        """Draw detections on the next frame and write it.

        detect: returns the Detections of an image (uint8 RGB [H, W, 3]). It is called for every ``stride``-th frame;
            the frames in between repeat the previous detections.

        A frame of another size than the first is drawn at its own size and then letterboxed to that of the first.
        """
        index = self.frames
        detected = index % self.stride == 0 or frame.hw != self.detections.image_hw
        if detected:
            self.detections = detect(frame.image)
        background = gray_around(frame.image, self.detections) if self.gray else frame.image
        drawn = draw(background, self.detections, self.class_names, color_instances=False, tint=not self.gray)
        self.output.write(letterbox(drawn, self.output.size_hw), frame.time, frame.duration)
        self.files.write(Source(self.files.stem, frame.image, index, float(frame.time), detected), self.detections)


@contextmanager
def annotated_video(
    video: VideoReader,
    class_names: ClassNames,
    out: Path,
    *,
    stride: int = 1,
    formats: Iterable[str] = (),
    gray: bool = False,
) -> Iterator[AnnotatedVideo]:
    """Open ``out`` for an annotated copy of ``video``, including its sound.

    formats: names in FORMATS; their files are written beside ``out`` under its name, such as ``out.jsonl``.
    stride, gray: see AnnotatedVideo.
    """
    with ExitStack() as stack:
        files = stack.enter_context(DetectionFiles(out.parent, class_names, formats, out.stem))
        output = stack.enter_context(VideoWriter(out, video.fps, video.size_hw, sound_from=video.sound))
        yield AnnotatedVideo(output, files, class_names, stride, gray, Detections(video.size_hw))
