"""What every reader makes: one split as its files say, and what of them did not become a row."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from detect.data.columns import MaskBuilder, StringColumn
from detect.data.quality.problems import Place
from detect.data.table import Table, starts
from detect.structures.masks import Polygons, Rle

_NO_BOX = (float("nan"),) * 4


class InvalidEntryError(ValueError):  # noqa: N818 - it says what the object is
    """Raised by a reader for what cannot become a row; ``kind`` is one of ``problems.KINDS``, ``raw`` what stands in
    the file."""

    def __init__(self, kind: str, what: str, raw: str = "") -> None:
        super().__init__(what)
        self.kind = kind
        self.raw = raw


class SkippedEntry(NamedTuple):
    """Something in the files that is no row of the table.

    image: the row of the image it is of, or -1.  raw: what stands in the file.
    """

    kind: str
    place: Place
    image: int = -1
    raw: str = ""


@dataclass(frozen=True)
class UnvalidatedSplit:
    """One split as its files say: every value is of its type, and nothing else is checked.

    annotations: the file or the folder that was read.
    table: its labels are 1 + the position in ``names``.
    names: the classes, with the category ids ``ids``; where ``classes_listed``, as the format lists them, in an order that
    counts, else those that are in use.
    word: what messages call an object: "annotation", "line", ...
    """

    annotations: Path
    table: Table
    names: tuple[str, ...]
    ids: tuple[int, ...]
    classes_listed: bool
    word: str
    skipped: tuple[SkippedEntry, ...] = ()

    def place(self, row: int, value: object = "") -> Place:
        """Where object ``row`` stands, with the value to be shown."""
        table = self.table
        image = table.image_of_object(row)
        file = table.names[image] if table.sources is None else table.sources[image]
        return Place(file, f"{self.word} {table.numbers[row]}", shown(value))

    def take_images(self, rows: np.ndarray) -> UnvalidatedSplit:
        """The images at ``rows``, integers [n], with their objects and rejects, and the rejects of no image."""
        row_of = {int(old): new for new, old in enumerate(rows)}
        kept = [r._replace(image=row_of.get(r.image, -1)) for r in self.skipped if r.image in {-1, *row_of}]
        return replace(self, table=self.table.take_images(rows), skipped=tuple(kept))


def shown(value: object) -> str:
    """A value for a message, numbers with up to six digits."""
    if isinstance(value, np.ndarray):
        return f"({', '.join(f'{number:g}' for number in value.tolist())})"
    return f"{value:g}" if isinstance(value, float) else str(value)[:100]


class UnvalidatedSplitBuilder:
    """Collects what a reader finds, objects in any order, into a Draft."""

    def __init__(self, images: Path, annotations: Path, word: str) -> None:
        self.images, self.annotations, self.word = images, annotations, word
        self._names: list[str] = []
        self._sources: list[str] = []
        self._image_hw, self._image_ids = array("i"), array("q")
        self._images, self._boxes, self._labels = array("q"), array("d"), array("q")
        self._areas, self._iscrowd = array("d"), bytearray()
        self._annotation_ids, self._numbers = array("q"), array("q")
        self._masks = MaskBuilder()
        self._rejects: list[SkippedEntry] = []
        self._label_of: dict[str, int] = {}

    def add_image(
        self, name: str, image_hw: tuple[int, int] = (0, 0), image_id: int | None = None, source: str | None = None
    ) -> int:
        """Returns its row, which its objects are added with. source: its own annotation file, of all or of none."""
        self._names.append(name)
        self._image_hw.extend(image_hw)
        self._image_ids.append(len(self._names) if image_id is None else image_id)
        if source is not None:
            self._sources.append(source)
        return len(self._names) - 1

    def add_object(
        self,
        image: int,
        label: int,
        number: int,
        *,
        box: Sequence[float] | None = None,
        mask: Polygons | Rle | None = None,
        area: float | None = None,
        iscrowd: bool = False,
        annotation_id: int | None = None,
    ) -> None:
        """box: xyxy in pixels.  mask: polygons of numbers, or a compressed RLE with a size of two whole numbers."""
        self._images.append(image)
        self._labels.append(label)
        self._numbers.append(number)
        self._annotation_ids.append(len(self._numbers) if annotation_id is None else annotation_id)
        self._boxes.extend(_NO_BOX if box is None else box)
        self._areas.append(_NO_BOX[0] if area is None else area)
        self._iscrowd.append(iscrowd)
        self._masks.add(mask)

    def label(self, name: str) -> int:
        """The label of a class by its name: a new one for a new name."""
        return self._label_of.setdefault(name, len(self._label_of) + 1)

    def skip(self, kind: str, place: Place, image: int = -1, raw: str = "") -> None:
        self._rejects.append(SkippedEntry(kind, place, image, raw))

    def name(self, image: int) -> str:
        """The file name of an image."""
        return self._names[image]

    def finish(
        self, names: Sequence[str] | None = None, ids: Sequence[int] | None = None, *, classes_listed: bool = True
    ) -> UnvalidatedSplit:
        """names, ids: the classes, ``classes_listed`` by the format or in use; without, those that ``label`` was asked for."""
        images = np.frombuffer(self._images, np.int64)
        order = np.argsort(images, kind="stable")

        def by_image(column: array[Any] | bytearray, kind: type) -> np.ndarray:
            return np.frombuffer(column, kind)[order]

        table = Table(
            folder=self.images,
            names=StringColumn.of(self._names),
            sources=StringColumn.of(self._sources) if self._sources else None,
            image_hw=np.frombuffer(self._image_hw, np.int32).reshape(-1, 2),
            image_ids=np.frombuffer(self._image_ids, np.int64),
            object_starts=starts(images, len(self._names)),
            boxes=np.frombuffer(self._boxes, np.float64).reshape(-1, 4)[order],
            labels=by_image(self._labels, np.int64),
            areas=by_image(self._areas, np.float64),
            iscrowd=by_image(self._iscrowd, np.bool_),
            annotation_ids=by_image(self._annotation_ids, np.int64),
            numbers=by_image(self._numbers, np.int64),
            mask_rows=order,
            masks=self._masks.finish(),
        )
        classes_listed = classes_listed and names is not None
        names = tuple(self._label_of if names is None else names)
        return UnvalidatedSplit(
            self.annotations,
            table,
            names,
            tuple(ids or range(1, len(names) + 1)),
            classes_listed,
            self.word,
            tuple(self._rejects),
        )
