"""Images of a validation split, each decoded once by worker processes, for detection and for losses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import groupby

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from detect.data.augmentation import Augmentation
from detect.data.augmentation.pipeline import TrainTransform
from detect.data.augmentation.sample import Sample
from detect.data.batch_reading import data_loader, read_batches
from detect.data.dataset import Target, read_record, to_target, to_tensor
from detect.data.image_problems import ImageProblems, UnreadableImageError
from detect.data.table import Table
from detect.media.scaled_decoding import resize
from detect.structures.image_size import resized_hw


@dataclass(frozen=True)
class ValidationItem:
    """One image of the split.

    index: its row in the split.
    image: uint8 RGB [H, W, 3] at its original size; None if it cannot be read.
    example: the image resized to ``imgsz`` and its target, as for training; None without losses.
    problems: what was wrong with its file.
    """

    index: int
    image: np.ndarray | None
    example: tuple[Tensor, Target] | None
    problems: ImageProblems


class ValidationLoader:
    """Batches of the images of a split, without augmentation, always in the same order.

    Only images of equal resized size share a batch: padding would change their features.
    Worker processes are started once and serve all epochs.
    """

    def __init__(
        self,
        records: Table,
        imgsz: int,
        batch_size: int,
        workers: int,
        *,
        with_examples: bool,
        with_masks: bool,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """imgsz: short side of the resized images in pixels.

        with_examples, with_masks: whether items have examples for losses, and whether these have masks.
        rank, world_size: index of this process and number of processes; each gets every world_size-th batch.
        """
        self._records = records
        self._batches = _equal_size_batches(records.image_hw, imgsz, batch_size)[rank::world_size]
        items = _ValidationItems(records, imgsz, with_examples=with_examples, with_masks=with_masks)
        self._loader = data_loader(items, self._batches, workers, list, ahead=1)  # images at full size are large

    def __len__(self) -> int:
        """Number of batches of this process."""
        return len(self._loader)

    def __iter__(self) -> Iterator[list[ValidationItem]]:
        return read_batches(self._loader, lambda i: [str(self._records.path(row)) for row in self._batches[i]])


def _equal_size_batches(image_hw: np.ndarray, imgsz: int, batch_size: int) -> list[list[int]]:
    """Return the rows of all images in batches of equal resized size."""
    sizes = [resized_hw((height, width), imgsz) for height, width in image_hw.tolist()]
    order = sorted(range(len(sizes)), key=lambda i: (sizes[i], i))
    batches = []
    for _, group in groupby(order, key=sizes.__getitem__):
        rows = list(group)
        batches += [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
    return batches


class _ValidationItems(Dataset):
    def __init__(self, records: Table, imgsz: int, *, with_examples: bool, with_masks: bool) -> None:
        self._records, self._with_examples, self._with_masks = records, with_examples, with_masks
        self._transform = TrainTransform(imgsz, Augmentation("none"))

    def __getitem__(self, index: int) -> ValidationItem:
        record, problems = self._records[index], ImageProblems()
        try:
            image = read_record(record, partial(problems.add_truncated, record.path))
        except UnreadableImageError as error:
            problems.add_unreadable(record.path, error)
            return ValidationItem(index, None, None, problems)
        if not self._with_examples:
            return ValidationItem(index, image, None, problems)
        masks = record.masks if self._with_masks else None
        sample = Sample(
            partial(resize, image),
            record.image_hw,
            record.boxes,
            record.labels,
            record.iscrowd,
            masks,
        )
        resized, ground_truth = self._transform(sample, np.random.default_rng(0))
        target = to_target(ground_truth, resized.shape[:2], record.image_id, with_masks=self._with_masks)
        return ValidationItem(index, image, (to_tensor(resized), target), problems)
