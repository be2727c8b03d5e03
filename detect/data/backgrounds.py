"""Pictures without any of the objects: what a detector must not take for one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detect.errors import UsageError
from detect.media.images import find_images, image_hw
from detect.types import ImageRecord


def read_backgrounds(source: str, records: Sequence[ImageRecord]) -> list[ImageRecord]:
    """A record without objects for each picture of ``source``, a folder or a pattern, to train on beside ``records``.

    They have masks, none of course, where all of ``records`` have. Raises MediaError where nothing is found or a
    picture cannot be read, UsageError for a picture that is among ``records``.
    """
    known = {record.path.resolve() for record in records}
    first = max(record.image_id for record in records) + 1
    with_masks = all(record.masks is not None for record in records)
    none = {"labels": np.int64, "areas": np.float64, "iscrowd": bool, "annotation_ids": np.int64}
    found = []
    for image_id, path in enumerate(find_images(source), first):
        if path.resolve() in known:
            raise UsageError(f"--backgrounds {source}: {path} is a picture of the data set")
        empty = {name: np.zeros(0, kind) for name, kind in none.items()}
        boxes = np.zeros((0, 4), np.float32)
        found.append(ImageRecord(path, image_hw(path), image_id, boxes, **empty, masks=[] if with_masks else None))
    return found
