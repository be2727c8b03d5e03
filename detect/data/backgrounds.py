"""Images without any of the objects: what a detector must not take for one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from detect.data.table import Table
from detect.errors import DataError, MediaError, UsageError
from detect.media.image_paths import find_images
from detect.media.images import image_hw
from detect.text import first_few


def with_backgrounds(table: Table, source: str, labelled: Iterable[Path]) -> Table:
    """``table`` and after it the images of ``source``, a folder or a pattern, without objects.

    labelled: the images of all splits, which may have objects.
    Raises UsageError where nothing is found and for a labelled image, DataError for what cannot be read.
    """
    try:
        paths = find_images(source)
    except MediaError as error:
        raise UsageError(f"--backgrounds: {error}") from None
    sizes, problems = [], []
    for path in paths:
        try:
            sizes.append(image_hw(path))
        except MediaError as error:
            problems.append(str(error))
    if problems:
        some = f"{len(problems)} of {len(paths)} images cannot be used"
        raise DataError(f"--backgrounds: {some}: {first_few(problems)}")
    known = {path.resolve() for path in labelled}
    if strangers := [path for path in paths if path.resolve() in known]:
        raise UsageError(f"--backgrounds: images of the dataset are among them: {first_few(strangers)}")
    return table.append_images(paths, np.array(sizes, np.int32))
