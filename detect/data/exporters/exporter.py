"""The interface of an exporter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from detect.structures.class_names import ClassNames
from detect.structures.masks import Polygons, Rle


class ObjectRow(NamedTuple):
    """One annotated object.

    Attributes:
        label: int, 1..K.
        box: float64 [4], xyxy in absolute pixels.
        mask: polygons, RLE or None.
        area: float, square pixels, as annotated.
        iscrowd: bool.
        annotation_id: int, unique in its split.
    """

    label: int
    box: np.ndarray
    mask: Polygons | Rle | None
    area: float
    iscrowd: bool
    annotation_id: int


class ImageRow(NamedTuple):
    """One image with its objects.

    Attributes:
        split: str.
        name: str, name in the new dataset, relative to ``Exporter.image_folder(split)``.
        path: Path, file of the image in the original dataset; None if there is none.
        image_id: int, unique in its split.
        image_hw: (height, width) in pixels.
        objects: list of ObjectRow.
    """

    split: str
    name: str
    path: Path | None
    image_id: int
    image_hw: tuple[int, int]
    objects: list[ObjectRow]


class ImageRows(Protocol):
    """The images of one split. They can be iterated several times and need not be in memory."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[ImageRow]: ...

    def without_objects(self) -> Iterator[ImageRow]:
        """Yield the images with empty lists of objects, which is faster."""


@dataclass(frozen=True)
class Export:
    """A dataset to be written.

    Attributes:
        splits: {split: its images}; every object has a box and an area.
        class_names: ClassNames of all splits.
        losses: what the format cannot hold, counted by the exporter: {plural noun such as "masks": number of cases}.
            Image ids and annotation ids are not counted.
    """

    splits: Mapping[str, ImageRows]
    class_names: ClassNames
    losses: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Exporter:
    """How a dataset is written in one annotation format. ``detect.data.convert`` writes the files and copies images.

    Attributes:
        files: function that yields the annotation files of an ``Export``, each as its path relative to the dataset's
            folder and its text in pieces, and counts what the format cannot hold. The pieces of a file must be
            consumed before the next file.
        image_folder: function that returns the folder of a split's images, relative to the dataset's folder.
        label_folder: function that returns the folder of a split's annotation files, if each image has one of the
            same name with another suffix; None if all images of a split are in one file.
        adapt_name: function that changes an image name, a relative path, where readers of the format need it.
    """

    files: Callable[[Export], Iterator[tuple[str, Iterable[str]]]]
    image_folder: Callable[[str], str]
    label_folder: Callable[[str], str] | None = None
    adapt_name: Callable[[str], str] = str

    @property
    def unique_stems(self) -> bool:
        """Whether image names must differ without their suffix, because annotation files have the same names."""
        return self.label_folder is not None
