"""Detect objects in images, and save annotated copies and the detections."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from detect import distributed
from detect.errors import DetectError, DiskError, MediaError
from detect.inference.class_selection import labels_of, loadable_models
from detect.inference.finished_images import FinishedImage, FinishedImages
from detect.inference.image_counters import ImageCounters
from detect.inference.image_input import warn_truncated
from detect.inference.image_plan import Plan, Task, continued_plan, has_image_files, new_plan, run_settings
from detect.inference.predictor import Predictor
from detect.inference.run_documents import num_finished, write_documents
from detect.inference.thread_map import thread_map
from detect.inference.writers import Source
from detect.inference.writers.annotated_images import write_annotated_image
from detect.inference.writers.files import DetectionFiles
from detect.io.locks import lock_file
from detect.media.color import GrayRange
from detect.media.drawing_style import DrawingStyle
from detect.media.images import decode
from detect.runtime import available_cores
from detect.structures.detections import Detections

_MAX_THREADS = 8  # for decoding, and as many for drawing and writing


@dataclass(frozen=True)
class AnnotatedImage:
    """An image that was processed.

    path: file of the image.
    detections: its Detections.
    output: file of the annotated copy; None if none was written.
    seconds: time of the detection. In a batch, the images share its time evenly.
    """

    path: Path
    detections: Detections
    output: Path | None
    seconds: float = 0.0


@dataclass(frozen=True)
class UnreadableImage:
    """An image that was left out because it could not be read, or its annotated copy not encoded.

    path: file of the image.
    reason: why, with the name of the file.
    """

    path: Path
    reason: str


@dataclass(frozen=True)
class SkippedImage:
    """An image that an earlier run has processed.

    path: file of the image.
    """

    path: Path


@dataclass(frozen=True)
class _Loaded:
    """A decoded image.  image: uint8 RGB [H, W, 3]."""

    task: Task
    image: np.ndarray
    is_truncated: bool
    has_few_gray_levels: bool


@dataclass(frozen=True)
class _Predicted:
    """A decoded image with its detections.  seconds: see AnnotatedImage."""

    task: Task
    image: np.ndarray
    detections: Detections
    seconds: float


def annotate_images(
    predictor: Predictor,
    paths: Sequence[Path],
    folder: Path,
    *,
    classes: Iterable[str | int] | None = None,
    batch_size: int = 1,
    formats: Iterable[str] = (),
    mask_format: str | None = None,
    annotated: bool = True,
    style: DrawingStyle | None = None,
    rescale_16bit: GrayRange | None = None,
    skip_existing: bool = False,
) -> Generator[AnnotatedImage | UnreadableImage | SkippedImage, None, None]:
    """Detect objects in every image, save annotated copies to ``folder``, and yield one result per image, in order.

    paths: image files.
    folder: existing folder. An annotated copy has the name of its image, with a number where that name is taken.
    classes: names or category ids of the classes to keep; by default all.
    batch_size: number of images per forward pass.
    formats: names in FORMATS of further files to write to ``folder``, such as "json".
    mask_format: "rle" or "polygons", for masks in the formats that have both.
    annotated: whether to write annotated copies.
    style: what is drawn on the annotated copies, and how.
    rescale_16bit: gray values of 16-bit images that become black and white; by default 0 and 65535. One warning counts
        the 16-bit images that use few gray levels.
    skip_existing: whether to leave out images that an earlier run into ``folder`` has finished, and to continue its
        files. The results of these images come first.

    Decoding, and drawing and writing, overlap with detection in threads. Memory does not grow with the number of
    images. Every finished image is recorded in a hidden file of ``folder`` (see ``finished_images``), from which the
    files that hold the detections of all images are written at the end, also after an error or KeyboardInterrupt.
    Close the iterator (``contextlib.closing``) if you stop early, so that they are written. After a kill, a run with
    ``skip_existing`` completes them.

    In a process group of ``detect.distributed`` every process handles a part of the images and yields its results.
    The first process decides for all with its ``paths``, and writes the files about all images.

    A truncated JPEG is used as far as it can be decoded, with a warning. At the end one warning counts the
    images in which the model reached its maximum number of detections.
    Raises UsageError for an unknown class or format, and if ``folder`` cannot be continued or another process uses it;
    DiskError for a file that cannot be written. An error of one process is raised in all of them.
    """
    others = loadable_models(predictor.device.type)
    labels = None if classes is None else labels_of(predictor.class_names, classes, others)
    formats = list(formats)
    settings = run_settings(predictor, labels, rescale_16bit)
    here = distributed.world()
    finished = FinishedImages(folder, here.rank)
    DetectionFiles(folder, predictor.class_names, formats)  # checks the names
    make_plan = partial(continued_plan, annotated=annotated) if skip_existing else new_plan
    planned = partial(make_plan, paths, folder, finished, settings, formats, mask_format)
    with _planned(planned, folder, finished) as plan:
        run = _Run(predictor, paths, folder, plan, annotated, style, finished)
        with run.concluding():
            if here.is_first:
                yield from map(SkippedImage, plan.skipped)
            finished.open(plan.settings)
            tasks = plan.tasks[here.rank :: here.size]
            yield from _process(tasks, predictor, labels, run, batch_size, rescale_16bit)


@contextmanager
def _planned(make_plan: Callable[[], Plan], folder: Path, finished: FinishedImages) -> Iterator[Plan]:
    """Yield the plan of a run, which the first process makes, and lock ``folder`` during the block."""

    def locked_plan() -> Plan:
        message = f"another process writes to {folder}; wait until it has ended, or choose another `name`"
        stack.enter_context(lock_file(folder / ".lock", message))
        return make_plan()

    with ExitStack() as stack:
        plan = distributed.compute_on_first(locked_plan)
        stack.callback(finished.delete_if_unused)
        yield plan


class _Run:
    """The output of a run: files about each image, the record of the finished images, and files about all images.

    counters: counters of the images with problems.
    """

    def __init__(
        self,
        predictor: Predictor,
        paths: Sequence[Path],
        folder: Path,
        plan: Plan,
        annotated: bool,
        style: DrawingStyle | None,
        finished: FinishedImages,
    ) -> None:
        """Raises UsageError for an unknown format."""
        self._class_names, self._paths, self._folder = predictor.class_names, paths, folder
        self._plan, self._annotated, self._style, self._finished = plan, annotated, style, finished
        self._files = DetectionFiles(folder, predictor.class_names, plan.formats)
        self._own_formats = tuple(name for name in plan.formats if has_image_files(name))
        self.counters = ImageCounters(predictor)

    def save(self, one: _Predicted | UnreadableImage) -> AnnotatedImage | UnreadableImage:
        """Write the files about one image, and record it. Several threads call this. Raises DiskError."""
        if isinstance(one, UnreadableImage):
            return one
        (path, stem), image, detections = one.task, one.image, one.detections
        source = Source(str(path), image, stem=stem, path=path)
        output = None
        try:
            if self._annotated:
                names, style = self._class_names, self._style
                output = write_annotated_image(self._folder, stem, path.name, image, detections, names, style)
            self._files.write_image_files(source, detections)
        except MediaError as error:  # such as an image file that was deleted after it was decoded
            return UnreadableImage(path, str(error))
        absolute = os.path.abspath(path)  # noqa: PTH100 - Path.resolve would follow links
        record = FinishedImage(absolute, source.name, stem, output.name if output else None, self._own_formats)
        self._finished.append(record, detections, self._class_names)
        return AnnotatedImage(path, detections, output, one.seconds)

    @contextmanager
    def concluding(self) -> Iterator[None]:
        """When the block has ended in all processes, warn of images with problems and write the files about all.

        A DetectError of one process is raised in all of them when they have finished their images. Any other
        exception, such as KeyboardInterrupt, is raised at once.
        """
        failure: DetectError | None = None
        try:
            try:
                yield
            except DetectError as error:
                failure = error
            self._finished.close()
            ended = distributed.all_gather((failure, self.counters.counts))
        except BaseException:
            self.counters.warn()
            self._finished.close()
            if distributed.world().is_first:
                with suppress(DetectError):  # the first error is the one to report
                    self._write_documents()
            raise
        if distributed.world().is_first:
            self.counters.warn(counts for _, counts in ended[1:])
        failure = next((one for one, _ in ended if one is not None), None)
        # The other processes wait, since torchrun ends all of them as soon as one has ended with an error.
        distributed.compute_on_first(partial(self._conclude, failure))

    def _conclude(self, failure: DetectError | None) -> None:
        """Write the files about all images, after every process has ended, and raise ``failure`` if there is one.

        A DiskError says how many images are finished.
        """
        try:
            if failure is None:
                self._finished.merge()
            self._write_documents()
        except DetectError as error:
            failure = failure or error
        if isinstance(failure, DiskError):
            count = num_finished(self._finished, self._paths)
            kept = f"{count} of {len(self._paths)} images are finished and kept, and `skip_existing` continues"
            raise DiskError(f"{failure}; {kept}") from failure
        if failure is not None:
            raise failure

    def _write_documents(self) -> None:
        """Write the files about all images; see ``run_documents.write_documents``."""
        formats, mask_format = self._plan.formats, self._plan.mask_format
        write_documents(self._folder, self._finished, self._paths, self._class_names, formats, mask_format)


def _process(
    tasks: Sequence[Task],
    predictor: Predictor,
    labels: Sequence[int] | None,
    run: _Run,
    batch_size: int,
    rescale_16bit: GrayRange | None,
) -> Iterator[AnnotatedImage | UnreadableImage]:
    """Process images in order; decoding and saving run in threads, detection in the calling thread.

    At most ``2 * threads + 2 * batch_size`` decoded images are in memory.
    """
    threads = min(_MAX_THREADS, max(2, available_cores()))
    load = partial(_load, rescale_16bit=rescale_16bit)
    with (
        closing(thread_map(load, tasks, threads=threads, ahead=batch_size - 1)) as loaded,
        closing(_predict(loaded, predictor, labels, run.counters, batch_size)) as predicted,
        closing(thread_map(run.save, predicted, threads=threads, ahead=0, eager=True)) as saved,
    ):
        yield from saved


def _load(task: Task, rescale_16bit: GrayRange | None) -> _Loaded | UnreadableImage:
    truncated: list[bool] = []
    try:
        decoded = decode(task.path, None, lambda: truncated.append(True), rescale_16bit)
        return _Loaded(task, decoded.upright(decoded.rgb), bool(truncated), decoded.has_few_gray_levels)
    except MediaError as error:
        return UnreadableImage(task.path, str(error))


def _predict(
    loaded: Iterator[_Loaded | UnreadableImage],
    predictor: Predictor,
    labels: Sequence[int] | None,
    counters: ImageCounters,
    batch_size: int,
) -> Generator[_Predicted | UnreadableImage, None, None]:
    """Yield each image with its detections, in order, warn of truncated ones and count those with problems."""
    while batch := list(islice(loaded, batch_size)):
        readable = [one for one in batch if isinstance(one, _Loaded)]
        started = time.perf_counter()
        results = predictor.predict_batch([one.image for one in readable], labels) if readable else []
        seconds = (time.perf_counter() - started) / max(1, len(readable))
        found = dict(zip((one.task.path for one in readable), results, strict=True))
        for one in batch:
            if isinstance(one, UnreadableImage):
                yield one
                continue
            if one.is_truncated:
                warn_truncated(one.task.path)
            detections = found[one.task.path]
            counters.add(detections, one.has_few_gray_levels)
            yield _Predicted(one.task, one.image, detections, seconds)
