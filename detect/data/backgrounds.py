"""Background images: images without objects that are added to the training split to reduce false positives."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from detect.data.slow_reading import name_slow
from detect.data.table import Table
from detect.errors import DataError, MediaError, UsageError
from detect.media.image_paths import find_images
from detect.media.images import image_hw
from detect.text import first_few


def with_backgrounds(table: Table, source: str, annotated: Iterable[Path]) -> Table:
    """Return ``table`` followed by the images of ``source`` without objects.

    source: a folder, or a glob pattern.
    annotated: images of all splits of the dataset, which may show objects.
    Raises UsageError when there is no image and when one of them is in ``annotated``, DataError for unreadable images.
    """
    try:
        paths = find_images(source)
    except MediaError as error:
        raise UsageError(f"`backgrounds`: {error}") from None
    found = [*name_slow(map(_size_or_error, paths), lambda i: [str(paths[i])])]
    if errors := [one for one in found if isinstance(one, str)]:
        raise DataError(f"`backgrounds`: {len(errors)} of {len(paths)} images cannot be read: {first_few(errors)}")
    in_dataset = {path.resolve() for path in annotated}
    if both := [path for path in paths if path.resolve() in in_dataset]:
        raise UsageError(f"`backgrounds`: these images are in the dataset: {first_few(both)}")
    return table.append_images(paths, np.array(found, np.int32))


def _size_or_error(path: Path) -> tuple[int, int] | str:
    try:
        return image_hw(path)
    except MediaError as error:
        return str(error)
