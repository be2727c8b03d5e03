"""``detect.load_dataset``: any supported dataset as torch Datasets, without augmentation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from detect.data.dataset import read_record, stack_masks, to_tensor
from detect.data.description import find_spec
from detect.data.spec import DatasetSpec
from detect.options import suggest_keywords
from detect.progress import warn
from detect.structures import masks
from detect.structures.class_names import ClassNames
from detect.structures.image_record import ImageRecord


@suggest_keywords
def load_dataset(data: str | Path, *, data_root: str | Path | None = None, format: str = "auto") -> LoadedDataset:
    """Return a dataset in any supported annotation format.

        dataset = detect.load_dataset("path/to/data")
        print(dataset.splits, dataset.class_names.names)
        for image, target in dataset.split("train"):
            ...

    Missing files of a described dataset are downloaded or rendered. If a folder has no validation split, one is drawn
    at random and saved in splits.yaml in that folder. Invalid images and annotations are skipped with a warning.

    data: a folder with images and annotations, the name of a dataset description such as "balloon", or a YAML file.
    data_root: folder of the files of a described dataset, if they are not in its usual place.
    format: "auto", or the annotation format to use in a folder that holds several, such as "coco" or "yolo"; the table
        ``detect.data.readers.READERS`` lists them.
    Raises UsageError for an unknown name, format or split, DataError for missing or invalid files, FetchError for a
    failed download.
    """
    spec = find_spec(str(data), data_root, format)
    spec.prepare()
    return LoadedDataset(spec)


class LoadedDataset:
    """A dataset with its splits. Annotations are read when they are first used.

    Attributes:
        name: str.
        splits: tuple of the split names, such as ("train", "val", "test").
    """

    def __init__(self, spec: DatasetSpec) -> None:
        self._spec = spec
        self.name = spec.name
        self.splits = tuple(spec.splits)
        self._loaded: dict[str, SplitDataset] = {}

    @cached_property
    def class_names(self) -> ClassNames:
        """The classes of all splits; label i, 1..K, is ``class_names.name(i)``."""
        return self._spec.all_classes()

    def split(self, name: str) -> SplitDataset:
        """Return one split as a torch Dataset.

        Raises UsageError for an unknown name, and DataError when its annotation files cannot be read, no image
        remains, or most of its images are missing or most of its annotations invalid.
        """
        if name not in self._loaded:
            self._spec.check_split(name)
            self._loaded[name] = SplitDataset(self._spec.read(name, self.class_names)[1], self.class_names)
        return self._loaded[name]

    def __repr__(self) -> str:
        return f"LoadedDataset({self.name!r}, splits={self.splits})"


class SplitDataset(Dataset):
    """One split. Item i is ``(image, target)`` as torchvision's detectors and its reference scripts take it.

    image: float32 [3, H, W], RGB, 0..1, at original size with EXIF orientation applied.
    target: dict with

    - ``boxes``: float32 [N, 4], xyxy in absolute pixels,
    - ``labels``: int64 [N], 1..K,
    - ``masks``: uint8 [N, H, W], 0 or 1, if every object of the split has a mask,
    - ``image_id``: int, unique in the split,
    - ``area``: float32 [N], square pixels, as annotated,
    - ``iscrowd``: int64 [N], 1 for a region with many objects, which should not be trained on.

    A truncated JPEG is used as far as it can be decoded, with one warning; any other image that cannot be read
    raises DataError.

    Attributes:
        records: sequence of ImageRecord, which hold the path of each image and its annotations.
        class_names: ClassNames.
    """

    def __init__(self, records: Sequence[ImageRecord], class_names: ClassNames) -> None:
        self.records = records
        self.class_names = class_names
        self._warned: set[int] = set()

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Any]]:
        record = self.records[index]  # raises IndexError at the end, which ends a for loop
        target: dict[str, Any] = {
            "boxes": torch.from_numpy(record.boxes),
            "labels": torch.from_numpy(record.labels.astype(np.int64)),
            "image_id": record.image_id,
            "area": torch.from_numpy(record.areas.astype(np.float32)),
            "iscrowd": torch.from_numpy(record.iscrowd.astype(np.int64)),
        }
        if record.masks is not None:
            bitmaps = [masks.to_bitmap(masks.from_coco(mask, record.image_hw)) for mask in record.masks]
            target["masks"] = stack_masks(bitmaps, record.image_hw)
        return to_tensor(read_record(record, partial(self._warn_truncated, index))), target

    def _warn_truncated(self, index: int) -> None:
        if index not in self._warned:
            self._warned.add(index)
            warn(f"{self.records[index].path} is truncated; its missing rows are gray")
