"""The file that lists the training images of a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from detect.data.digests import TRAIN_IMAGES, dataset_digest, image_digests, write_digests
from detect.structures.image_record import ImageRecord


def list_train_images(records: Sequence[ImageRecord], folder: Path) -> dict[str, str]:
    """Write the list of ``records`` for a checkpoint in ``folder``; return what the checkpoint stores about them."""
    digests = image_digests([record.path for record in records])
    write_digests(folder / TRAIN_IMAGES, digests, [record.path.name for record in records])
    return {"train_digest": dataset_digest(digests)}
