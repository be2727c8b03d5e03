"""A split as columns: images and their objects in numpy buffers, and one ImageRecord an image as a view of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np

from detect.data.columns import NONE, Masks, StringColumn
from detect.structures import masks
from detect.structures.class_names import ClassNames
from detect.structures.image_record import ImageRecord
from detect.structures.masks import Rle


def renumber_duplicates(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``ids`` with new numbers where an earlier one is the same, and the rows where that is so; integers [n]."""
    _, first = np.unique(ids, return_index=True)
    doubled = np.setdiff1d(np.arange(len(ids)), first)
    ids = ids.copy()
    ids[doubled] = ids.max(initial=0) + 1 + np.arange(len(doubled))
    return ids, doubled


@dataclass(frozen=True)
class Table(Sequence[ImageRecord]):
    """N images with M objects as they are annotated; ``table[i]`` is the record of the i-th, whose parts must fit.

    folder: of the images.  names: N file names in it, with slashes (an absolute one stands for itself).
    sources: N annotation files, one an image, or None where one file holds all.
    image_hw: int32 [N, 2], (0, 0) where the annotations do not say.  image_ids: int64 [N].
    object_starts: int64 [N + 1]; the objects of image i are the rows object_starts[i] to object_starts[i + 1].
    boxes: float64 [M, 4] xyxy in pixels, NaN where an object has none.  labels: int64 [M] in 1..K.
    areas: float64 [M] px², NaN where not given.  iscrowd: bool [M].  annotation_ids: int64 [M].
    numbers: int64 [M], by which a person finds each object in its file: an id, a line, a position from 1.
    mask_rows: int64 [M], the row of each object's mask in ``masks``.
    """

    folder: Path
    names: StringColumn
    sources: StringColumn | None
    image_hw: np.ndarray
    image_ids: np.ndarray
    object_starts: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    areas: np.ndarray
    iscrowd: np.ndarray
    annotation_ids: np.ndarray
    numbers: np.ndarray
    mask_rows: np.ndarray
    masks: Masks

    def __len__(self) -> int:
        return len(self.image_ids)

    @overload
    def __getitem__(self, index: int) -> ImageRecord: ...
    @overload
    def __getitem__(self, index: slice) -> Table: ...
    def __getitem__(self, index: int | slice) -> ImageRecord | Table:
        if isinstance(index, slice):
            return self.take_images(np.arange(len(self))[index])
        i = range(len(self))[index]  # which refuses one that is not there
        rows = slice(int(self.object_starts[i]), int(self.object_starts[i + 1]))
        height, width = self.image_hw[i].tolist()
        return ImageRecord(
            path=self.path(i),
            image_hw=(height, width),
            image_id=int(self.image_ids[i]),
            boxes=self.boxes[rows].astype(np.float32),
            labels=self.labels[rows],
            areas=self.areas[rows],
            iscrowd=self.iscrowd[rows],
            annotation_ids=self.annotation_ids[rows],
            masks=[self.masks[row] for row in self.mask_rows[rows].tolist()] if self.has_masks else None,
        )

    def path(self, image: int) -> Path:
        return self.folder / self.names[image]

    @property
    def images(self) -> np.ndarray:
        """int64 [M], the image of each object."""
        return np.repeat(np.arange(len(self)), np.diff(self.object_starts))

    def image_of_object(self, row: int) -> int:
        """The image of one object."""
        return int(np.searchsorted(self.object_starts, row, side="right")) - 1

    def rle(self, row: int) -> Rle:
        """The mask of one object, which has one, coded at the size of its image; ValueError like ``from_coco``."""
        height, width = self.image_hw[self.image_of_object(row)].tolist()
        return masks.from_coco(self.masks[int(self.mask_rows[row])], (height, width))

    @property
    def lacks_mask(self) -> np.ndarray:
        """bool [M]."""
        return self.masks.kinds[self.mask_rows] == NONE

    @cached_property
    def has_masks(self) -> bool:
        """Whether no object is without one, since a Mask R-CNN needs all."""
        return not self.lacks_mask.any()

    def take_images(self, rows: np.ndarray) -> Table:
        """The images at ``rows``, integers in any order, with their objects."""
        counts = np.diff(self.object_starts)[rows]
        ends = np.cumsum(counts)
        objects = np.arange(counts.sum()) + np.repeat(self.object_starts[:-1][rows] - (ends - counts), counts)
        return replace(
            self.with_objects(objects),
            names=self.names.take(rows),
            sources=None if self.sources is None else self.sources.take(rows),
            image_hw=self.image_hw[rows],
            image_ids=self.image_ids[rows],
            object_starts=np.concatenate([[0], ends]),
        )

    def take_objects(self, kept: np.ndarray) -> Table:
        """All images, with the objects alone where the boolean mask ``kept`` [M] says so."""
        return replace(self.with_objects(np.flatnonzero(kept)), object_starts=starts(self.images[kept], len(self)))

    def relabel(self, new: ClassNames, old: Sequence[str]) -> Table:
        """With the labels that the classes ``old``, of the labels 1 to K, have in ``new``; objects of others are left
        out."""
        label_of = np.array([0, *(new.label(name) if name in new.names else 0 for name in old)], np.int64)
        table = replace(self, labels=label_of[self.labels])
        return table if table.labels.all() else table.take_objects(table.labels > 0)

    def with_masks(self, rows: np.ndarray, new: Masks) -> Table:
        """With ``new`` masks for the objects at ``rows``, integers [n]."""
        mask_rows = self.mask_rows.copy()
        mask_rows[rows] = len(self.masks) + np.arange(len(rows))
        return replace(self, mask_rows=mask_rows, masks=self.masks + new)

    def append_images(self, paths: Sequence[Path], image_hw: np.ndarray) -> Table:
        """And then the images at ``paths``, of sizes int32 [n, 2], without objects and with ids of their own."""
        ids = np.arange(len(paths)) + 1 + max(self.image_ids.max(initial=0), 0)
        return replace(
            self,
            names=StringColumn.of([*self.names, *(path.absolute().as_posix() for path in paths)]),
            sources=None if self.sources is None else StringColumn.of([*self.sources, *("" for _ in paths)]),
            image_hw=np.concatenate([self.image_hw, image_hw.reshape(-1, 2)]),
            image_ids=np.concatenate([self.image_ids, ids]),
            object_starts=np.concatenate([self.object_starts, np.full(len(paths), self.object_starts[-1])]),
        )

    def with_objects(self, rows: np.ndarray) -> Table:
        """Columns of objects at ``rows``; ``first`` is the caller's to set."""
        columns = ("boxes", "labels", "areas", "iscrowd", "annotation_ids", "numbers", "mask_rows")
        return replace(self, **{name: getattr(self, name)[rows] for name in columns})


def starts(images: np.ndarray, count: int) -> np.ndarray:
    """int64 [count + 1], where the rows of each image start; ``images``: the image of each row, ascending."""
    return np.concatenate([[0], np.cumsum(np.bincount(images, minlength=count))])
