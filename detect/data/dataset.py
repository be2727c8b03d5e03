"""The torch Dataset of augmented images that training uses, and how the image of a record is read."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from detect.data.augmentation.ground_truth import GroundTruth
from detect.data.augmentation.pipeline import TrainTransform
from detect.data.augmentation.sample import Sample
from detect.data.image_problems import GONE, HINT, ImageProblems, UnreadableImageError
from detect.data.table import Table
from detect.errors import DataError, MediaError
from detect.media.images import OnTruncated, read_image
from detect.media.scaled_decoding import read_resized
from detect.structures.image_record import ImageRecord

Target = dict[str, Tensor]

_MAX_SUBSTITUTES = 30  # per item; with half of the images unreadable, all 30 are unreadable once in 10**9 items
_SUBSTITUTE_SEED = 2**31 + 1  # with an item's index, the seed for choosing its substitutes


class DetectionDataset(Dataset):
    """Augmented images for training. Item i is ``(image, target)`` as torchvision's detectors take it.

    image: float32 [3, H, W], RGB, 0..1.
    target: ``boxes`` float32 [N, 4] xyxy in pixels of that image, ``labels`` int64 [N] in 1..K, ``masks`` uint8
        [N, H, W] if ``with_masks``, ``image_id`` int64 [].

    Crowds are augmented with the image, but are not in the target. An item depends only on the seed, the epoch and
    its index, whichever worker process creates it.

    Attributes:
        records: sequence of ImageRecord, preferably a Table.
        transform: TrainTransform.
        with_masks: bool, whether targets have masks. Transforms may use masks even when targets have none.
        seed: int.
        epoch: int, the current epoch, which the items depend on.
        problems: ImageProblems, images that could not be read completely since it was last taken.
    """

    def __init__(
        self, records: Sequence[ImageRecord], transform: TrainTransform, *, with_masks: bool, seed: int = 0
    ) -> None:
        self.records = records
        self.transform = transform
        self.with_masks = with_masks
        self.seed = seed
        self.epoch = 0
        self.problems = ImageProblems()
        self._image_hw = records.image_hw if isinstance(records, Table) else np.array([r.image_hw for r in records])
        self._source_images = _images_with_objects(records)  # for mosaics and copy-paste

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> tuple[Tensor, Target]:
        return self.item(index, self.epoch)

    def item(self, index: int, epoch: int, repetition: int = 0) -> tuple[Tensor, Target]:
        """Return item ``index`` in ``epoch``.

        repetition: how often the item came before in this epoch; each repetition is augmented differently.
        Raises UnreadableImageError. A truncated JPEG is used if most of it can be decoded, see ``media.read_image``.
        """
        return self._item(index, epoch, repetition, ())

    def item_or_substitute(self, index: int, epoch: int, repetition: int = 0) -> tuple[Tensor, Target]:
        """Return item ``index`` in ``epoch`` like ``item``, with other images in place of those that cannot be read.

        The substitutes depend only on the seed, the index and which images are unreadable. Each unreadable image is
        recorded in ``problems``. Raises UnreadableImageError if none of 30 images can be read.
        """
        unreadable: set[int] = set()
        while True:
            try:
                key = index, epoch, repetition
                return self._item(*key, unreadable) if unreadable else self.item(*key)
            except UnreadableImageError as error:
                if error.index in unreadable or len(unreadable) == _MAX_SUBSTITUTES:
                    raise
                unreadable.add(error.index)

    def _item(self, index: int, epoch: int, repetition: int, unreadable: Collection[int]) -> tuple[Tensor, Target]:
        def source_sample(number: int) -> Sample:  # for mosaics and copy-paste
            return self._sample(self._usable(self._source_images, number, unreadable))

        rng = self._rng(index, epoch, repetition)
        index = self._usable(range(len(self.records)), index, unreadable)
        num_sources = len(self._source_images)
        image, ground_truth = self.transform(self._sample(index), rng, source_sample, num_sources, epoch)
        record = self.records[index]
        target = to_target(ground_truth, image.shape[:2], record.image_id, with_masks=self.with_masks)
        return to_tensor(image), target

    def _usable(self, images: Sequence[int] | np.ndarray, position: int, unreadable: Collection[int]) -> int:
        """Return ``images[position]``, or a random other one of ``images`` if that image is ``unreadable``.

        If all are, the image itself is returned, so that reading it raises the error.
        """
        if images[position] not in unreadable:
            return int(images[position])
        rng = np.random.default_rng([self.seed, position, _SUBSTITUTE_SEED])
        others = (int(images[other]) for other in rng.permutation(len(images)).tolist())
        return next((other for other in others if other not in unreadable), int(images[position]))

    def size_hw(self, index: int, epoch: int, repetition: int = 0) -> tuple[int, int]:
        """Return the (height, width) of the image that ``item`` returns, without reading the image."""
        rng, image_hw = self._rng(index, epoch, repetition), tuple(self._image_hw[index].tolist())
        return self.transform.size_hw(image_hw, rng, epoch, has_others=len(self._source_images) > 0)

    def _rng(self, index: int, epoch: int, repetition: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, epoch, index, *([repetition] if repetition else [])])

    def _sample(self, index: int) -> Sample:
        record = self.records[index]
        if self.with_masks and record.masks is None:
            raise DataError(f"{record.path} has no masks, which Mask R-CNN needs")
        needs_masks = self.with_masks or self.transform.needs_masks
        return Sample(
            partial(self._read, record, index),
            record.image_hw,
            record.boxes,
            record.labels,
            record.iscrowd,
            record.masks if needs_masks else None,
        )

    def _read(self, record: ImageRecord, index: int, hw: tuple[int, int]) -> np.ndarray:
        try:
            return read_resized_record(record, hw, partial(self.problems.add_truncated, record.path))
        except UnreadableImageError as error:
            error.index = index
            self.problems.add_unreadable(record.path, error)
            raise


def _images_with_objects(records: Sequence[ImageRecord]) -> np.ndarray:
    """Return the indices of the images with an object that is not a crowd, int64 [n]."""
    if isinstance(records, Table):  # reads the columns instead of creating all records
        return np.unique(records.images[~records.iscrowd])
    return np.array([i for i, record in enumerate(records) if not record.iscrowd.all()], np.int64)


def to_target(
    ground_truth: GroundTruth, image_hw: Sequence[int], image_id: int, *, with_masks: bool
) -> dict[str, Tensor]:
    """Return the target of an image of ``image_hw``, see ``DetectionDataset``; without crowds."""
    ground_truth = ground_truth.only(~ground_truth.iscrowd)
    target = {
        "boxes": torch.from_numpy(ground_truth.boxes),
        "labels": torch.from_numpy(ground_truth.labels),
        "image_id": torch.tensor(image_id),
    }
    if with_masks and ground_truth.masks is not None:
        target["masks"] = stack_masks(ground_truth.masks, image_hw)
    return target


def stack_masks(masks: Sequence[np.ndarray], hw: Sequence[int]) -> Tensor:
    """Return masks, uint8 [H, W] each, as one tensor uint8 [N, H, W]."""
    return torch.from_numpy(np.stack(masks) if len(masks) else np.zeros((0, *hw), np.uint8))


def read_record(record: ImageRecord, on_truncated: OnTruncated | None = None) -> np.ndarray:
    """Return the image of a record, uint8 RGB [H, W, 3].

    Raises UnreadableImageError if the file cannot be read or its size is not the annotated one.

    on_truncated: see ``media.read_image``; without it a truncated image is an error.
    """
    with _media_errors_as_data_errors(record.path):
        image = read_image(record.path, on_truncated)
    _check_size(record, image.shape[:2])
    return image


def read_resized_record(
    record: ImageRecord, hw: tuple[int, int], on_truncated: OnTruncated | None = None
) -> np.ndarray:
    """Return the image of a record resized to ``hw``, uint8 RGB [*hw, 3]; arguments and errors as in ``read_record``.

    A large JPEG is decoded at reduced size, which is faster.
    """
    with _media_errors_as_data_errors(record.path):
        image, original_hw = read_resized(record.path, hw, on_truncated)
    _check_size(record, original_hw)
    return image


@contextmanager
def _media_errors_as_data_errors(path: Path) -> Iterator[None]:
    """Turn a MediaError of the image ``path`` into an error that says how to find all damaged images.

    Reading a dataset checks only the headers of images, so truncated files are noticed here.
    """
    try:
        yield
    except MediaError as error:
        raise UnreadableImageError(f"{error}{HINT if path.parent.is_dir() else GONE}") from None


def _check_size(record: ImageRecord, image_hw: tuple[int, int]) -> None:
    if image_hw != record.image_hw:
        raise UnreadableImageError(
            f"{record.path} has {image_hw[1]}x{image_hw[0]} pixels, "
            f"but its annotations are for {record.image_hw[1]}x{record.image_hw[0]}"
        )


def to_tensor(image: np.ndarray) -> Tensor:
    """Return an image uint8 [H, W, 3] as float32 [3, H, W] in 0..1."""
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).contiguous().float().div_(255)


def collate(items: list[tuple[Tensor, Target]]) -> tuple[list[Tensor], list[Target]]:
    """Return a list of images and a list of targets. Images have different sizes; the model pads them."""
    images, targets = zip(*items, strict=True)
    return list(images), list(targets)
