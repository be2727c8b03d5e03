"""Records as a torch Dataset, and the loader that batches them for training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from detect.data.augmentation.pipeline import TrainTransform
from detect.data.augmentation.sample import Sample
from detect.data.table import Table
from detect.errors import DataError, MediaError
from detect.media.images import read_image
from detect.media.scaled_decoding import read_resized
from detect.structures.image_record import ImageRecord

Target = dict[str, Tensor]


class DetectionDataset(Dataset):
    """Item ``i`` is ``(image, target)`` as torchvision's detectors take them in training.

    image: float32 [3, H, W] in 0..1, RGB.  target: ``boxes`` float32 [N, 4] xyxy pixels of that image,
    ``labels`` int64 [N], ``masks`` uint8 [N, H, W] where the data has them, ``image_id`` int64 [].
    with_masks: whether the targets have them; the transform sees them wherever the data has them and it pastes.
    Crowds go through the transform and are not trained on. An item depends on (seed, epoch, i) alone, whichever worker
    makes it.
    """

    def __init__(
        self, records: Sequence[ImageRecord], transform: TrainTransform, *, with_masks: bool, seed: int = 0
    ) -> None:
        self.records = records
        self.transform = transform
        self.with_masks = with_masks
        self.seed = seed
        self.epoch = 0
        self._image_hw = records.image_hw if isinstance(records, Table) else np.array([r.image_hw for r in records])
        self._lenders = _with_objects(records)  # which may be pasted or be part of a mosaic

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> tuple[Tensor, Target]:
        return self.item(index, self.epoch)

    def item(self, index: int, epoch: int, again: int = 0) -> tuple[Tensor, Target]:
        """Item ``index`` as ``epoch`` sees it, when it comes there after ``again`` other times."""
        rng = self._rng(index, epoch, again)
        image, ground_truth = self.transform(self._sample(index), rng, self._lender, len(self._lenders), epoch)
        ground_truth = ground_truth.only(~ground_truth.iscrowd)

        target = {
            "boxes": torch.from_numpy(ground_truth.boxes),
            "labels": torch.from_numpy(ground_truth.labels),
            "image_id": torch.tensor(self.records[index].image_id),
        }
        if self.with_masks and ground_truth.masks is not None:
            stack = np.stack(ground_truth.masks) if ground_truth.masks else np.zeros((0, *image.shape[:2]), np.uint8)
            target["masks"] = torch.from_numpy(stack)
        return to_tensor(image), target

    def size_hw(self, index: int, epoch: int, again: int = 0) -> tuple[int, int]:
        """The (height, width) of an item, without making it."""
        rng, image_hw = self._rng(index, epoch, again), tuple(self._image_hw[index].tolist())
        return self.transform.size_hw(image_hw, rng, epoch, has_others=len(self._lenders) > 0)

    def _rng(self, index: int, epoch: int, again: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, epoch, index, *([again] if again else [])])

    def _lender(self, number: int) -> Sample:
        return self._sample(int(self._lenders[number]))

    def _sample(self, index: int) -> Sample:
        record = self.records[index]
        if self.with_masks and record.masks is None:
            raise DataError(f"{record.path} has no masks; a Mask R-CNN cannot train on it")
        wanted = self.with_masks or self.transform.needs_masks
        return Sample(
            partial(read_resized_record, record),
            record.image_hw,
            record.boxes,
            record.labels,
            record.iscrowd,
            record.masks if wanted else None,
        )


def _with_objects(records: Sequence[ImageRecord]) -> np.ndarray:
    """int64 [n], the images that have an object which is no crowd."""
    if isinstance(records, Table):  # whose columns tell without making all of its records
        return np.unique(records.images[~records.iscrowd])
    return np.array([i for i, record in enumerate(records) if not record.iscrowd.all()], np.int64)


def read_record(record: ImageRecord) -> np.ndarray:
    """The image of a record, uint8 RGB [H, W, 3]; DataError where its size is not the annotated one."""
    with _cure_told():
        image = read_image(record.path)
    _check_size(record, image.shape[:2])
    return image


def read_resized_record(record: ImageRecord, hw: tuple[int, int]) -> np.ndarray:
    """The image of a record resized to ``hw``, uint8 RGB [*hw, 3], of which no more pixels are read than that needs;
    DataError as of ``read_record``."""
    with _cure_told():
        image, found_hw = read_resized(record.path, hw)
    _check_size(record, found_hw)
    return image


@contextmanager
def _cure_told() -> Iterator[None]:
    """An image that shows only now that it cannot be read, such as one that breaks off, may not be the only one."""
    try:
        yield
    except MediaError as error:
        raise DataError(f"{error}; doctor.py check finds every such image, doctor.py fix leaves them out") from None


def _check_size(record: ImageRecord, found_hw: tuple[int, int]) -> None:
    if found_hw != record.image_hw:
        raise DataError(
            f"{record.path} is {found_hw[1]}x{found_hw[0]} pixels, "
            f"its annotations are for {record.image_hw[1]}x{record.image_hw[0]}"
        )


def to_tensor(image: np.ndarray) -> Tensor:
    """uint8 RGB [H, W, 3] -> float32 [3, H, W] in 0..1."""
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).contiguous().float().div_(255)


def collate(items: list[tuple[Tensor, Target]]) -> tuple[list[Tensor], list[Target]]:
    """Images of different sizes stay a list; the model pads them."""
    images, targets = zip(*items, strict=True)
    return list(images), list(targets)
