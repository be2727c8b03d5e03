"""What it spares training to decode large JPEGs no larger than it needs them: the time of its items, both ways."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import cv2
import numpy as np
import torch

from detect import progress, runtime
from detect.data.augmentation import Augmentation
from detect.data.augmentation.pipeline import TrainTransform
from detect.data.augmentation.sample import Sample, resize_masks
from detect.data.dataset import DetectionDataset, read_record, read_resized_record
from detect.data.table import Table
from detect.io.files import new_temporary_folder
from detect.media.images import write_image
from detect.media.scaled_decoding import decode_for
from detect.structures import masks
from detect.structures.image_record import ImageRecord
from detect.structures.masks import Polygons, Rle

PHOTOGRAPH_PIXELS = 12_000_000  # a telephone's
# Standard deviation of what a sensor adds, in gray levels: with it the file has as many bytes as a telephone's, which
# counts since unpacking them is not spared.
_NOISE = 8
_PHOTOGRAPH_ITEMS = 10  # in a round

Way = Callable[[ImageRecord, tuple[int, int]], np.ndarray]
"""Reads the image of a record resized to a (height, width), uint8 RGB [H, W, 3]."""


def read_whole(record: ImageRecord, hw: tuple[int, int]) -> np.ndarray:
    """As ``read_resized_record`` does with an image that is not much larger: all pixels, then resized."""
    return cv2.resize(read_record(record), hw[::-1], interpolation=cv2.INTER_LINEAR)


WAYS: Mapping[str, Way] = {"whole": read_whole, "reduced": read_resized_record}


@dataclass(frozen=True)
class Items:
    """What training items cost in a number of rounds, each with other random sizes.

    cpu_ms: by way, float64 [rounds, items], milliseconds of the processor.
    reduced: bool [rounds, items], whether the second way decodes fewer pixels than there are.
    """

    cpu_ms: Mapping[str, np.ndarray]
    reduced: np.ndarray

    def as_lists(self) -> dict[str, Any]:
        """For JSON."""
        cpu_ms = {way: ms.round(3).tolist() for way, ms in self.cpu_ms.items()}
        return {"cpu_ms": cpu_ms, "reduced": self.reduced.tolist()}


@dataclass(frozen=True)
class Photograph:
    """file_bytes: of its JPEG.  made_from_hw: size of the image that it was made from."""

    record: ImageRecord
    file_bytes: int
    made_from_hw: tuple[int, int]


def measure(
    records: Sequence[ImageRecord], imgsz: int, augmentation: Augmentation, *, with_masks: bool, rounds: int
) -> Items:
    """Make every item of training on ``records`` both ways in every round, by turns and in one thread.

    imgsz, augmentation: as ``TrainTransform`` takes them.
    """
    transform = TrainTransform(imgsz, augmentation)
    makers = {name: _Maker(records, transform, way, with_masks) for name, way in WAYS.items()}
    shape = rounds, len(records)
    items = Items({name: np.zeros(shape) for name in WAYS}, np.zeros(shape, bool))
    with _one_thread():
        for maker in makers.values():  # warm
            maker[0]
        for at in progress.bar([*np.ndindex(shape)], desc=f"items at {imgsz}"):
            turns = [*WAYS] if sum(at) % 2 else [*WAYS][::-1]
            for name in turns:
                maker = makers[name]
                maker.epoch = at[0]
                start = time.thread_time()
                maker[at[1]]
                items.cpu_ms[name][at] = 1000 * (time.thread_time() - start)
            items.reduced[at] = is_reduced(records[at[1]], maker.hw)
    return items


def measure_photograph(photograph: Photograph, imgsz: int, augmentation: Augmentation, rounds: int) -> Items:
    """``measure`` a set of this image alone."""
    records = [photograph.record] * _PHOTOGRAPH_ITEMS
    return measure(records, imgsz, augmentation, with_masks=photograph.record.masks is not None, rounds=rounds)


def is_reduced(record: ImageRecord, hw: tuple[int, int]) -> bool:
    """Whether ``read_resized_record`` decodes fewer pixels than there are."""
    return decode_for(record.path, hw).divisor > 1


@contextmanager
def photograph(records: Table) -> Iterator[Photograph]:
    """A JPEG of PHOTOGRAPH_PIXELS made from the largest image of ``records``, with its objects, in a folder for
    temporary things; DiskError where there is no room."""
    largest = records[int(records.image_hw.astype(np.int64).prod(axis=1).argmax())]
    whole = read_record(largest)
    scale = (PHOTOGRAPH_PIXELS / whole[..., 0].size) ** 0.5
    height, width = (round(scale * side) for side in largest.image_hw)
    method = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    pixels = cv2.resize(whole, (width, height), interpolation=method)
    noise = _NOISE * np.random.default_rng(0).standard_normal(pixels.shape, np.float32)
    with new_temporary_folder("benchmark_") as folder:
        path = folder / "photograph.jpg"
        write_image(path, (pixels + noise).clip(0, 255).astype(np.uint8))
        record = replace(
            largest,
            path=path,
            image_hw=(height, width),
            boxes=largest.boxes * np.float32(scale),
            areas=largest.areas * scale**2,
            masks=None
            if largest.masks is None
            else _enlarged(largest.masks, scale, largest.image_hw, (height, width)),
        )
        yield Photograph(record, path.stat().st_size, largest.image_hw)


def _enlarged(
    some: Sequence[Polygons | Rle], scale: float, image_hw: tuple[int, int], hw: tuple[int, int]
) -> list[Polygons | Rle]:
    """Masks of an image of ``image_hw`` that became ``hw``, each in its form, on which the cost depends."""
    return [
        [np.asarray(part) * scale for part in mask]
        if isinstance(mask, list)
        else masks.from_bitmap(resize_masks([mask], image_hw, hw)[0])
        for mask in some
    ]


class _Maker(DetectionDataset):
    """Training items whose images are read in one of the WAYS. hw: the size in which the last one was."""

    def __init__(self, records: Sequence[ImageRecord], transform: TrainTransform, way: Way, with_masks: bool) -> None:
        super().__init__(records, transform, with_masks=with_masks)
        self.hw = (0, 0)
        self._way = way

    def _sample(self, index: int) -> Sample:
        return replace(super()._sample(index), read=partial(self._read, self.records[index]))

    def _read(self, record: ImageRecord, hw: tuple[int, int]) -> np.ndarray:
        self.hw = hw
        return self._way(record, hw)


@contextmanager
def _one_thread() -> Iterator[None]:
    """As in a loader process."""
    threads = torch.get_num_threads()
    runtime.use_one_thread()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
