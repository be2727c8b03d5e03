"""Videos with what was found in their frames drawn on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from detect.inference.writers.json import JsonLinesWriter
from detect.media.drawing import draw, gray_around
from detect.media.video_decoder import Frame
from detect.media.video_reader import VideoReader
from detect.media.video_writer import VideoWriter, letterbox
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections


@dataclass
class AnnotatedVideo:
    """A video that is being written.

    stride: every so many-th frame is looked at, and those whose size is another than that of the one before.
    gray: colors stay on the objects alone.
    found: on the frame that was looked at last.
    """

    image: VideoWriter
    lines: JsonLinesWriter | None
    class_names: ClassNames
    stride: int
    gray: bool
    found: Detections

    @property
    def frames(self) -> int:
        """Written so far."""
        return self.image.frames

    def write(self, frame: Frame, look: Callable[[np.ndarray], Detections]) -> None:
        """The next frame, with what ``look`` finds in its image (uint8 RGB [H, W, 3]), or has found in an earlier
        one where this is none to be looked at.

        One of another size than the first is drawn on as it is, and then fitted into the size of the first.
        """
        index = self.frames
        detected = index % self.stride == 0 or frame.hw != self.found.image_hw
        if detected:
            self.found = look(frame.image)
        background = gray_around(frame.image, self.found) if self.gray else frame.image
        drawn = draw(background, self.found, self.class_names, color_instances=False, tint=not self.gray)
        self.image.write(letterbox(drawn, self.image.size_hw), frame.time, frame.duration)
        if self.lines is not None:
            self.lines.write(index, float(frame.time), self.found, detected=detected)


@contextmanager
def annotated_video(
    video: VideoReader,
    class_names: ClassNames,
    out: Path,
    *,
    stride: int = 1,
    save_json: bool = False,
    gray: bool = False,
) -> Iterator[AnnotatedVideo]:
    """``video`` once more, as ``out``, with its sound; with ``save_json`` a line of JSON for each frame beside it."""
    with ExitStack() as stack:
        lines = stack.enter_context(JsonLinesWriter(out.with_suffix(".jsonl"), class_names)) if save_json else None
        image = stack.enter_context(VideoWriter(out, video.fps, video.size_hw, sound_from=video.sound))
        yield AnnotatedVideo(image, lines, class_names, stride, gray, Detections(video.size_hw))
