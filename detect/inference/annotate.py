"""Detect objects in images or in a video, and save annotated copies and the detections."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from detect.errors import MediaError
from detect.inference.image_counters import GrayLevelCounter, LimitCounter, ShrinkCounter
from detect.inference.image_input import warn_truncated
from detect.inference.predictor import Predictor
from detect.inference.writers import Source
from detect.inference.writers.annotated_images import write_annotated_image
from detect.inference.writers.annotated_video import VideoSummary, write_annotated_video
from detect.inference.writers.files import DetectionFiles
from detect.media.color import GrayRange
from detect.media.images import decode
from detect.media.video_decoder import Frame
from detect.media.video_reader import VideoReader
from detect.progress import bar, warn
from detect.structures.detections import Detections


@dataclass(frozen=True)
class AnnotatedImage:
    """An image that was processed.

    path: file of the image.
    detections: its Detections.
    output: file of the annotated copy.
    """

    path: Path
    detections: Detections
    output: Path


@dataclass(frozen=True)
class UnreadableImage:
    """An image that was skipped because it could not be read.

    path: file of the image.
    reason: message of the MediaError, which names the file.
    """

    path: Path
    reason: str


def annotate_images(
    predictor: Predictor,
    paths: Sequence[Path],
    folder: Path,
    *,
    classes: Iterable[str | int] | None = None,
    batch_size: int = 1,
    formats: Iterable[str] = (),
    rescale_16bit: GrayRange | None = None,
) -> Generator[AnnotatedImage | UnreadableImage, None, None]:
    """Detect objects in every image, save annotated copies to ``folder``, and yield one result per image.

    paths: image files.
    folder: existing folder. An annotated copy has the name of its image, with a number where it is taken.
    classes: names or category ids of the classes to keep; by default all.
    batch_size: number of images per forward pass.
    formats: names in FORMATS of further files to write to ``folder``, such as "json".
    rescale_16bit: gray values of 16-bit images that become black and white; by default 0 and 65535. One warning counts
        the 16-bit images that use few gray levels.

    A truncated JPEG is used as far as it can be decoded, with a warning. At the end one warning counts the
    images in which the model reached its maximum number of detections.
    Close the iterator (``contextlib.closing``) if you stop early, so that the files of ``formats`` are written.
    Raises UsageError for an unknown class or format, and DiskError or MediaError for a file that cannot be written.
    """
    class_names = predictor.class_names
    labels = None if classes is None else class_names.labels(classes)
    with (
        LimitCounter(predictor) as limit,
        ShrinkCounter(predictor) as shrinking,
        GrayLevelCounter() as levels,
        DetectionFiles(folder, class_names, formats) as files,
    ):
        for first in range(0, len(paths), batch_size):
            batch = []
            for path in paths[first : first + batch_size]:
                try:
                    decoded = decode(path, None, partial(warn_truncated, path), rescale_16bit)
                    levels.add(decoded)
                    batch.append((path, decoded.upright(decoded.rgb)))
                except MediaError as error:
                    yield UnreadableImage(path, str(error))
            results = predictor.predict_batch([image for _, image in batch], labels) if batch else []
            for (path, image), detections in zip(batch, results, strict=True):
                limit.add(detections)
                shrinking.add(detections.image_hw)
                output = write_annotated_image(folder, path, image, detections, class_names)
                name = output.relative_to(folder).as_posix()
                files.write(Source(str(path), image, annotated_file=name), detections)
                yield AnnotatedImage(path, detections, output)


def annotate_video(
    predictor: Predictor,
    video: VideoReader,
    out: Path,
    *,
    classes: Iterable[str | int] | None = None,
    stride: int = 1,
    max_frames: int | None = None,
    formats: Iterable[str] = (),
) -> VideoSummary:
    """Detect objects in the frames of a video and write an annotated copy with its sound.

    out: file of the annotated copy, .mp4.
    classes: names or category ids of the classes to keep; by default all.
    stride: the model runs on every ``stride``-th frame, and on frames whose size differs from the previous one; the
        frames in between repeat its detections.
    max_frames: number of frames after which to stop; by default the whole video.
    formats: names in FORMATS of further files to write beside ``out``, such as "json".

    Shows a progress bar, and warns where the size of the frames changes, where the video is damaged or ends early, and
    if the model reached its maximum number of detections in some frames.
    KeyboardInterrupt ends the video after the current frame; before the first frame it is raised.
    Raises UsageError for an unknown class or format, MediaError for a video that cannot be decoded, and DiskError.
    """
    labels = None if classes is None else predictor.class_names.labels(classes)
    total = min(video.frame_count or sys.maxsize, max_frames or sys.maxsize)
    number = total if total < sys.maxsize else None
    with (
        LimitCounter(predictor, "frame") as limit,
        ShrinkCounter(predictor, "frame") as shrinking,
        bar(total=number, unit="frame", leave=True) as progress,
    ):

        def frames() -> Iterator[Frame]:
            for frame in _warning_of_sizes(video, max_frames):
                shrinking.add(frame.hw)
                yield frame
                progress.update()

        def detect(image: np.ndarray) -> Detections:
            (found,) = predictor.predict_batch([image], labels)
            limit.add(found)
            return found

        summary = write_annotated_video(
            video, frames(), detect, predictor.class_names, out, stride=stride, formats=formats
        )
    if video.warning:
        warn(video.warning)
    return summary


def _warning_of_sizes(video: VideoReader, max_frames: int | None) -> Iterator[Frame]:
    """Yield the first ``max_frames`` frames, all if None; warn where their size changes."""
    former_hw = video.size_hw
    for index, frame in enumerate(islice(video, max_frames)):
        if frame.hw != former_hw:
            warn(f"{video.source.shown} changes from {_size(former_hw)} to {_size(frame.hw)} at frame {index}")
            former_hw = frame.hw
        yield frame


def _size(hw: tuple[int, int]) -> str:
    return f"{hw[1]}x{hw[0]} (width x height)"
