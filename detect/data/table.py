"""Images and annotations of one split as numpy columns, with one ``ImageRecord`` per image as a view of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np

from detect.data.columns import NO_MASK, MaskColumn, StringColumn, no_masks
from detect.data.file_listing import is_file
from detect.structures import masks
from detect.structures.class_names import ClassNames
from detect.structures.image_record import ImageRecord
from detect.structures.masks import Polygons, Rle


@dataclass(frozen=True)
class Table(Sequence[ImageRecord]):
    """N images with M annotated objects. ``table[i]`` is the ``ImageRecord`` of image i.

    Rows of objects are sorted by image. Boxes, areas and masks refer to the original image.

    Attributes:
        folder: Path, folder of the images.
        unpacked: Path, folder of the images that annotation files hold, for names without a file in ``folder``; or
            None.
        names: N file names relative to ``folder``, with forward slashes. An absolute path replaces the folder.
        sources: N annotation file names when each image has its own annotation file, else None.
        image_hw: int32 [N, 2], (height, width) in pixels; (0, 0) when the annotations do not say.
        image_ids: int64 [N], unique ids from the annotations, or 1..N.
        object_starts: int64 [N + 1]; the objects of image i are rows object_starts[i] to object_starts[i + 1] - 1.
        boxes: float64 [M, 4], xyxy in absolute pixels; NaN when not annotated.
        labels: int64 [M], 1..K.
        areas: float64 [M], square pixels; NaN when not annotated.
        iscrowd: bool [M].
        annotation_ids: int64 [M].
        numbers: int64 [M], the number by which a person finds the object in its annotation file: an annotation id, a
            line number, or a position counted from 1.
        mask_rows: int64 [M], row of each object's mask in ``masks``.
        masks: masks of the objects, in any order.
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
    masks: MaskColumn
    unpacked: Path | None = None

    def __len__(self) -> int:
        return len(self.image_ids)

    @overload
    def __getitem__(self, index: int) -> ImageRecord: ...
    @overload
    def __getitem__(self, index: slice) -> Table: ...
    def __getitem__(self, index: int | slice) -> ImageRecord | Table:
        if isinstance(index, slice):
            return self.take_images(np.arange(len(self))[index])
        i = range(len(self))[index]  # raises IndexError when out of range
        rows = self.objects(i)
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
        """Path of the file of image ``image``."""
        path = self.folder / self.names[image]
        if self.unpacked and not is_file(path) and is_file(inside := self.unpacked / self.names[image]):
            return inside
        return path

    def objects(self, image: int) -> slice:
        """Rows of the objects of image ``image``."""
        return slice(int(self.object_starts[image]), int(self.object_starts[image + 1]))

    @property
    def images(self) -> np.ndarray:
        """Index of the image of each object, int64 [M], ascending."""
        return np.repeat(np.arange(len(self)), np.diff(self.object_starts))

    def image_of_object(self, row: int) -> int:
        """Return the index of the image of one object."""
        return int(np.searchsorted(self.object_starts, row, side="right")) - 1

    def mask(self, row: int) -> Polygons | Rle | None:
        """Return the mask of object ``row``, None if it has none."""
        mask = int(self.mask_rows[row])
        return None if self.masks.kinds[mask] == NO_MASK else self.masks[mask]

    def rle(self, row: int) -> Rle:
        """Return the mask of object ``row``, which must have one, as an RLE of the size of its image.

        Raises ValueError for a mask that cannot be encoded, as ``detect.structures.masks.from_coco`` does.
        """
        height, width = self.image_hw[self.image_of_object(row)].tolist()
        return masks.from_coco(self.masks[int(self.mask_rows[row])], (height, width))

    @property
    def lacks_mask(self) -> np.ndarray:
        """Whether each object has no mask, bool [M]."""
        return self.masks.kinds[self.mask_rows] == NO_MASK

    @cached_property
    def has_masks(self) -> bool:
        """Whether every object has a mask, which Mask R-CNN needs."""
        return not self.lacks_mask.any()

    def take_images(self, rows: np.ndarray) -> Table:
        """Return the images at ``rows``, int [n], with their objects. Rows may repeat and have any order."""
        counts = np.diff(self.object_starts)[rows]
        ends = np.cumsum(counts)
        objects = np.arange(counts.sum()) + np.repeat(self.object_starts[:-1][rows] - (ends - counts), counts)
        return replace(
            self._with_object_rows(objects),
            names=self.names.take(rows),
            sources=None if self.sources is None else self.sources.take(rows),
            image_hw=self.image_hw[rows],
            image_ids=self.image_ids[rows],
            object_starts=np.concatenate([[0], ends]),
        )

    def take_objects(self, kept: np.ndarray) -> Table:
        """Return all images with only the objects where ``kept``, bool [M], is true."""
        starts = object_starts(self.images[kept], len(self))
        return replace(self._with_object_rows(np.flatnonzero(kept)), object_starts=starts)

    def relabel(self, new: ClassNames, old: Sequence[str]) -> Table:
        """Return the table with the labels of ``new``; objects of classes that ``new`` lacks are removed.

        old: class names of the current labels 1..K.
        """
        label_of = np.array([0, *(new.label(name) if name in new.names else 0 for name in old)], np.int64)
        table = replace(self, labels=label_of[self.labels])
        return table if table.labels.all() else table.take_objects(table.labels > 0)

    def with_masks(self, rows: np.ndarray, new: MaskColumn) -> Table:
        """Return the table with the masks of the objects at ``rows``, int [n], replaced by the n masks ``new``."""
        mask_rows = self.mask_rows.copy()
        mask_rows[rows] = len(self.masks) + np.arange(len(rows))
        return replace(self, mask_rows=mask_rows, masks=self.masks + new)

    def without_crowds(self) -> Table:
        """Return the table with all crowds as single objects."""
        return replace(self, iscrowd=np.zeros_like(self.iscrowd))

    def without_masks(self) -> Table:
        """Return the table without masks."""
        return replace(self, mask_rows=np.zeros_like(self.mask_rows), masks=no_masks(1))

    def append_images(self, paths: Sequence[Path], image_hw: np.ndarray) -> Table:
        """Return the table followed by n images without objects, which get new ids.

        image_hw: int32 [n, 2], (height, width) of the images at ``paths``, in pixels.
        """
        ids = np.arange(len(paths)) + 1 + max(self.image_ids.max(initial=0), 0)
        return replace(
            self,
            names=StringColumn.of([*self.names, *(path.absolute().as_posix() for path in paths)]),
            sources=None if self.sources is None else StringColumn.of([*self.sources, *("" for _ in paths)]),
            image_hw=np.concatenate([self.image_hw, image_hw.reshape(-1, 2)]),
            image_ids=np.concatenate([self.image_ids, ids]),
            object_starts=np.concatenate([self.object_starts, np.full(len(paths), self.object_starts[-1])]),
        )

    def append(self, other: Table) -> Table:
        """Return the table followed by the images of another one; ids that occur twice are replaced by new ones."""
        same_folder = (self.folder, self.unpacked) == (other.folder, other.unpacked)
        names = other.names if same_folder else [other.path(i).absolute().as_posix() for i in range(len(other))]
        sources = [name for table in (self, other) for name in table.sources or [""] * len(table)]
        plain = ("image_hw", "boxes", "labels", "areas", "iscrowd", "numbers")
        joined: dict[str, Any] = {name: np.concatenate([getattr(self, name), getattr(other, name)]) for name in plain}
        return replace(
            self,
            names=StringColumn.of([*self.names, *names]),
            sources=StringColumn.of(sources) if self.sources or other.sources else None,
            image_ids=renumber_duplicates(np.concatenate([self.image_ids, other.image_ids]))[0],
            object_starts=np.concatenate([self.object_starts, self.object_starts[-1] + other.object_starts[1:]]),
            annotation_ids=renumber_duplicates(np.concatenate([self.annotation_ids, other.annotation_ids]))[0],
            mask_rows=np.concatenate([self.mask_rows, len(self.masks) + other.mask_rows]),
            masks=self.masks + other.masks,
            **joined,
        )

    def _with_object_rows(self, rows: np.ndarray) -> Table:
        """Return a copy with only the objects at ``rows``, int [m]. The caller must also set ``object_starts``."""
        columns = ("boxes", "labels", "areas", "iscrowd", "annotation_ids", "numbers", "mask_rows")
        return replace(self, **{name: getattr(self, name)[rows] for name in columns})


def object_starts(images: np.ndarray, count: int) -> np.ndarray:
    """Return ``Table.object_starts``, int64 [count + 1]; ``images`` is the image index of each object, ascending."""
    return np.concatenate([[0], np.cumsum(np.bincount(images, minlength=count))])


def renumber_duplicates(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ``ids``, int [n], made unique, and the rows that got a new id because an earlier row has the same id."""
    _, first = np.unique(ids, return_index=True)
    duplicates = np.setdiff1d(np.arange(len(ids)), first)
    ids = ids.copy()
    ids[duplicates] = ids.max(initial=0) + 1 + np.arange(len(duplicates))
    return ids, duplicates
