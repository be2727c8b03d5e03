"""The files that hold the detections of all images of a run, written from the record of the finished images."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from detect.inference.finished_images import FinishedImages
from detect.inference.writers.base import Source
from detect.inference.writers.files import DetectionFiles
from detect.inference.writers.output_names import image_ids
from detect.progress import bar
from detect.structures.class_names import ClassNames

_MANY = 5000  # images; more show a progress bar


def num_finished(finished: FinishedImages, paths: Sequence[Path]) -> int:
    """Return how many of the images ``paths`` are finished."""
    done = {image.path for _, image in finished.images()}
    return sum(absolute in done for absolute in _absolute(paths))


def write_documents(
    folder: Path,
    finished: FinishedImages,
    paths: Sequence[Path],
    class_names: ClassNames,
    formats: Iterable[str],
    mask_format: str | None = None,
) -> None:
    """Write the files of ``formats`` that need no pixels. mask_format: see ``Writer``.

    Images come in the order of ``paths``, after finished images that are not among them, sorted by path. The files
    depend only on the finished images, not on the number of runs and processes. Raises DiskError; earlier files are
    then unchanged.
    """
    position_of = {absolute: i for i, absolute in enumerate(_absolute(paths))}
    places = {image.path: place for place, image in finished.images()}
    order = sorted(places, key=lambda path: (position_of.get(path, -1), path))
    with DetectionFiles(folder, class_names, formats, staged=True, mask_format=mask_format) as files:
        images = finished.read([places[path] for path in order], class_names)
        numbers = bar(image_ids(order), desc="writing detections", min_items=_MANY)
        for number, (image, detections) in zip(numbers, images, strict=True):
            source = Source(
                image.source,
                None,
                annotated_file=image.annotated_file,
                stem=image.stem,
                image_id=number,
                path=Path(image.path),
            )
            files.add(source, detections)


def _absolute(paths: Sequence[Path]) -> Iterator[str]:
    return (os.path.abspath(path) for path in paths)  # noqa: PTH100 - Path.resolve would follow links
