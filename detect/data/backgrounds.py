"""Pictures without any of the objects: what a detector must not take for one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from detect.errors import DataError, MediaError, UsageError, first_few
from detect.media.images import find_images, image_hw
from detect.types import ImageRecord


def read_backgrounds(source: str, records: Sequence[ImageRecord], labelled: Iterable[Path]) -> list[ImageRecord]:
    """A record without objects for each picture of ``source``, a folder or a pattern, to train on beside ``records``.

    They have masks, none of course, where all of ``records`` have.
    labelled: the pictures of all splits, which may have objects.
    Raises UsageError where nothing is found and for a labelled picture, DataError for what cannot be read.
    """
    try:
        paths = find_images(source)
    except MediaError as error:
        raise UsageError(f"--backgrounds: {error}") from None
    found, problems = [], []
    image_id = max(record.image_id for record in records)
    with_masks = all(record.masks is not None for record in records)
    for path in paths:
        image_id += 1
        try:
            found.append(_empty_record(path, image_id, with_masks))
        except MediaError as error:
            problems.append(str(error))
    if problems:
        some = f"{len(problems)} of {len(paths)} pictures cannot be used"
        raise DataError(f"--backgrounds: {some}: {first_few(problems)}")
    known = {path.resolve() for path in labelled}
    if strangers := [record.path for record in found if record.path.resolve() in known]:
        raise UsageError(f"--backgrounds: pictures of the data set are among them: {first_few(strangers)}")
    return found


def _empty_record(path: Path, image_id: int, with_masks: bool) -> ImageRecord:
    return ImageRecord(
        path=path,
        image_hw=image_hw(path),
        image_id=image_id,
        boxes=np.zeros((0, 4), np.float32),
        labels=np.zeros(0, np.int64),
        areas=np.zeros(0, np.float64),
        iscrowd=np.zeros(0, bool),
        annotation_ids=np.zeros(0, np.int64),
        masks=[] if with_masks else None,
    )
