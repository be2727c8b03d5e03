"""Detect objects in images and save annotated copies.

    torchrun --nproc_per_node=2 detect_image.py ...

shares the images among two processes.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from detect.cli.flags import parse
from detect.cli.settings.detection import DetectImageSettings
from detect.cli.startup import report_model, report_no_detections, start_program
from detect.errors import DetectError, MediaError, UsageError
from detect.media.image_list import LIST_SUFFIX
from detect.text import counted

if TYPE_CHECKING:
    from detect.inference.annotate_images import AnnotatedImage
    from detect.inference.predictor import Predictor

MAX_LINES = 10  # with more images there is a progress bar in place of a line per image, unless --verbose asks for both


@dataclass
class _Counts:
    """Results of one process.

    images, objects: number of images that were processed, and of detections in them.
    skipped: number of images that earlier runs have processed.  unreadable: why each other image could not be read.
    """

    images: int = 0
    objects: int = 0
    skipped: int = 0
    unreadable: list[str] = field(default_factory=list)


def main() -> None:
    settings, _ = parse(DetectImageSettings, "Detect objects in images and save annotated copies.")

    # Imported late so that --help and errors in flags and paths come before the seconds that torch takes to load.
    from detect.io.files import make_folder
    from detect.media.image_paths import find_all_images, shown

    paths = find_all_images(settings.input)
    make_folder(settings.output_dir)

    from detect import distributed
    from detect.inference.load import load_model

    start_program(settings.quiet)
    predictor = load_model(settings.model, **settings.model_settings())
    with distributed.process_group(predictor.device) as here:
        if not settings.quiet:
            report_model(predictor, settings.model, settings.threshold)
        started = time.perf_counter()
        try:
            _check_same_model(predictor)
            with _run_folder(settings, paths) as folder:
                own = _detect(settings, predictor, paths, folder)
        except DetectError:
            if here.is_first:
                raise
            sys.exit(2)  # the first process prints the error
        counts = _total(distributed.all_gather(own))
        if counts.images or counts.skipped:
            seconds = time.perf_counter() - started
            before = f", {counted(counts.skipped, 'image')} finished before" if counts.skipped else ""
            done = f"{counted(counts.images, 'image')}, {counted(counts.objects, 'object')}, {seconds:.1f} s{before}"
            print(f"{done} -> {shown(folder)}")
        if counts.images and not counts.objects:
            report_no_detections(predictor)
    if counts.unreadable and here.is_first:
        if len(paths) == 1:
            raise MediaError(counts.unreadable[0])
        lines = "".join(f"\n  {line}" for line in counts.unreadable)
        raise MediaError(f"{len(counts.unreadable)} of {len(paths)} images could not be read:{lines}")


def run_name(sources: Sequence[str], paths: Sequence[Path]) -> str:
    """Return the default name of a run: the stem of a single input file, else the name of the folder of all images."""
    if len(sources) == len(paths) == 1 and paths[0].name in sources[0]:  # not in a folder or a pattern
        return paths[0].stem
    if len(sources) == 1 and sources[0].lower().endswith(LIST_SUFFIX):
        return Path(sources[0]).stem
    folders = [os.path.dirname(os.path.abspath(path)) for path in paths]  # noqa: PTH100, PTH120 - keeps links
    return Path(os.path.commonpath(folders)).name or "run"


def _check_same_model(predictor: Predictor) -> None:
    """Raise UsageError if the processes have different models, as ``auto`` may stand for where a network fails."""
    from detect.distributed import all_gather

    if len(names := set(all_gather(predictor.name))) > 1:
        raise UsageError(f"the processes have different models: {', '.join(sorted(names))}; name one with `model`")


@contextmanager
def _run_folder(settings: DetectImageSettings, paths: Sequence[Path]) -> Iterator[Path]:
    """Yield the folder of the run, which the first process makes; delete it afterwards if it is still empty."""
    from detect.distributed import compute_on_first
    from detect.io.files import make_folder, new_folder

    def make() -> Path:
        name = settings.name or run_name(settings.input, paths)
        if settings.skip_existing:
            return make_folder(settings.output_dir / name)
        return new_folder(settings.output_dir, name)

    folder = compute_on_first(make)
    try:
        yield folder
    finally:
        with suppress(OSError):  # the folder is not empty
            folder.rmdir()


def _detect(settings: DetectImageSettings, predictor: Predictor, paths: Sequence[Path], folder: Path) -> _Counts:
    """Process the images, of which each process takes a part, and print the results or a progress bar."""
    from detect.distributed import world
    from detect.inference.annotate_images import SkippedImage, UnreadableImage, annotate_images
    from detect.media.image_paths import shown
    from detect.progress import RATE, bar

    counts = _Counts()
    annotated = annotate_images(
        predictor,
        paths,
        folder,
        classes=settings.classes,
        batch_size=settings.batch_size,
        formats=settings.formats,
        mask_format=settings.mask_format,
        annotated=settings.annotated,
        style=settings,
        rescale_16bit=settings.gray_range,
        skip_existing=settings.skip_existing,
    )
    has_lines = settings.verbose or (len(paths) <= MAX_LINES and not settings.quiet)
    numbers = {path: number for number, path in enumerate(paths, 1)}
    images = bar(total=len(paths), unit=" images", bar_format=RATE, min_items=MAX_LINES + 1)
    try:
        with images as progress, closing(annotated) as results:
            for result in results:
                step = 1
                if isinstance(result, SkippedImage):
                    counts.skipped += 1
                elif isinstance(result, UnreadableImage):
                    counts.unreadable.append(result.reason)
                else:
                    counts.images, counts.objects = counts.images + 1, counts.objects + len(result.detections)
                    step = world().size  # the others are about as fast
                    if has_lines:
                        _print_line(result, f"{numbers[result.path]}/{len(paths)}")
                progress.update(min(step, len(paths) - progress.n))
    except KeyboardInterrupt:
        done = counts.images + counts.skipped
        kept = f", which are kept in {shown(folder)}" if done else ""
        raise KeyboardInterrupt(f"stopped after {done} of {len(paths)} images{kept}") from None
    return counts


def _print_line(result: AnnotatedImage, position: str) -> None:
    from detect.media.image_paths import shown
    from detect.progress import report

    counts = Counter(result.detections.names)
    found = ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "no detections"
    report(f"image {position} {shown(result.path)}: {found}, {1000 * result.seconds:.0f} ms")


def _total(counts: Iterable[_Counts]) -> _Counts:
    """Return the sum of the results of all processes."""
    total = _Counts()
    for one in counts:
        total.images, total.objects = total.images + one.images, total.objects + one.objects
        total.skipped, total.unreadable = total.skipped + one.skipped, total.unreadable + one.unreadable
    return total
