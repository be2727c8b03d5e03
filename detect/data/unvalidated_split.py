"""One split as its annotation files state it, before any value is checked. Every reader returns this."""

from __future__ import annotations

import os
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from detect.data.columns import MaskBuilder, StringColumn
from detect.data.file_listing import read_text_or_empty
from detect.data.image_names import match_to_files
from detect.data.table import Table, object_starts
from detect.data.validation.problems import Location
from detect.structures.masks import Polygons, Rle

_NO_BOX = (float("nan"),) * 4


class InvalidEntryError(ValueError):
    """Raised inside a reader for an image or annotation that cannot become a row of the table.

    Attributes:
        kind: str, a key of ``detect.data.validation.problems.KINDS``.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class ReportedEntry(NamedTuple):
    """An entry of the annotation files that cannot become a row of the table, or that is read with a change.

    Attributes:
        kind: str, a key of ``detect.data.validation.problems.KINDS``.
        location: where the entry is.
        image: int, index of its image in the table, or -1.
        raw: str, text of the entry in the annotation file.
    """

    kind: str
    location: Location
    image: int = -1
    raw: str = ""


@dataclass(frozen=True)
class UnvalidatedSplit:
    """One split as its annotation files state it: each value has the right type, and nothing else is checked.

    Attributes:
        annotations: Path, the annotation file or folder that was read.
        table: Table, whose label i stands for ``names[i - 1]``.
        names: K class names.
        ids: K category ids.
        classes_listed: bool, whether the format lists the classes in a meaningful order; otherwise ``names`` are the
            classes of the annotated objects.
        entry_word: str, what messages call one annotated object: "annotation", "line", ...
        skipped: entries that are not rows of the table.
        notes: entries that are read otherwise than they are written, such as rotated boxes.
        has_real_masks: bool, whether a mask is more than the outline of an annotated box.
        drawn_from: number of images before a random split, for its first split, in which the images without a file
            stay; else 0.
    """

    annotations: Path
    table: Table
    names: tuple[str, ...]
    ids: tuple[int, ...]
    classes_listed: bool
    entry_word: str
    skipped: tuple[ReportedEntry, ...] = ()
    notes: tuple[ReportedEntry, ...] = ()
    has_real_masks: bool = False
    drawn_from: int = 0

    def location(self, row: int, value: object = "") -> Location:
        """Return where object ``row`` is annotated, with ``value`` for display."""
        table = self.table
        image = table.image_of_object(row)
        file = table.names[image] if table.sources is None else table.sources[image]
        return Location(file, f"{self.entry_word} {table.numbers[row]}", _shown(value))

    def with_names_on_disk(self) -> UnvalidatedSplit:
        """Return the split with image names corrected to those on disk, where exactly one image fits.

        Each corrected name is noted. See ``detect.data.image_names`` for the differences that are bridged.
        """
        table, folder = self.table, str(self.table.folder)  # joined as text: creating 118,000 Path objects is slow
        is_there = os.path.isfile
        missing = [row for row, name in enumerate(table.names) if not is_there(os.path.join(folder, name))]  # noqa: PTH118
        if table.unpacked:
            missing = [row for row in missing if not is_there(table.path(row))]
        names, notes = list(table.names), []
        found = match_to_files(table.folder, names, [names[row] for row in missing])
        for row in missing:
            if file := found.get(names[row]):
                notes.append(ReportedEntry("renamed_image", Location(file, "", f"annotated as {names[row]}"), row))
                names[row] = file
        if not notes:
            return self
        matched = {note.location.file for note in notes}
        return replace(
            self,
            table=replace(table, names=StringColumn.of(names)),
            skipped=tuple(
                e for e in self.skipped if not (e.kind == "unannotated_image" and e.location.file in matched)
            ),
            notes=(*self.notes, *notes),
        )

    def take_images(self, rows: np.ndarray) -> UnvalidatedSplit:
        """Return the images at ``rows``, int [n], with their objects and their reported entries.

        Reported entries that belong to no image are kept."""
        row_of = {int(old): new for new, old in enumerate(rows)} | {-1: -1}
        skipped, notes = (
            tuple(e._replace(image=row_of[e.image]) for e in entries if e.image in row_of)
            for entries in (self.skipped, self.notes)
        )
        return replace(self, table=self.table.take_images(rows), skipped=skipped, notes=notes)


def _shown(value: object) -> str:
    """Return a value for a message, numbers with up to six digits."""
    if isinstance(value, np.ndarray):
        return f"({', '.join(f'{number:g}' for number in value.tolist())})"
    return f"{value:g}" if isinstance(value, float) else str(value)[:100]


class UnvalidatedSplitBuilder:
    """Builds an ``UnvalidatedSplit`` from images and their objects, added in any order."""

    def __init__(self, images: Path, annotations: Path, entry_word: str) -> None:
        self.images, self.annotations, self.entry_word = images, annotations, entry_word
        self._names: list[str] = []
        self._sources: list[str] = []
        self._image_hw, self._image_ids = array("i"), array("q")
        self._images, self._boxes, self._labels = array("q"), array("d"), array("q")
        self._areas, self._iscrowd = array("d"), bytearray()
        self._annotation_ids, self._numbers = array("q"), array("q")
        self._masks = MaskBuilder()
        self._has_real_masks = False
        self._skipped: list[ReportedEntry] = []
        self._notes: list[ReportedEntry] = []
        self._label_of: dict[str, int] = {}
        self.unpacked: Path | None = None  # as in Table

    def add_image(
        self, name: str, image_hw: tuple[int, int] = (0, 0), image_id: int | None = None, source: str | None = None
    ) -> int:
        """Add an image and return its index, which ``add_object`` takes.

        name: file name relative to the folder of the images.
        image_hw: (height, width) in pixels, (0, 0) when the annotations do not say.
        image_id: id in the annotations; by default images are numbered from 1.
        source: annotation file of this image. Either all images have one or none.
        """
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
        mask_from_box: bool = False,
        area: float | None = None,
        iscrowd: bool = False,
        annotation_id: int | None = None,
    ) -> None:
        """Add an annotated object.

        number: what a person searches for in the annotation file, see ``Table.numbers``.
        box: four numbers xyxy in absolute pixels.
        mask: a list of polygons, or a compressed RLE whose size is two integers.
        mask_from_box: whether ``mask`` is only the outline of an annotated box, upright or rotated. Such masks are
            used if other objects of the dataset have real ones, and ignored otherwise (see ``DatasetSpec.select``).
        area: square pixels.
        annotation_id: by default objects are numbered from 1.
        """
        self._images.append(image)
        self._labels.append(label)
        self._numbers.append(number)
        self._annotation_ids.append(len(self._numbers) if annotation_id is None else annotation_id)
        self._boxes.extend(_NO_BOX if box is None else box)
        self._areas.append(_NO_BOX[0] if area is None else area)
        self._iscrowd.append(iscrowd)
        self._masks.add(mask)
        self._has_real_masks |= mask is not None and not mask_from_box

    def label(self, name: str) -> int:
        """Return the label of a class name. The first name gets 1, each new name the next integer."""
        return self._label_of.setdefault(name, len(self._label_of) + 1)

    def skip(self, kind: str, location: Location, image: int = -1, raw: str = "") -> None:
        """Record an entry that cannot become a row; the arguments are the attributes of ``ReportedEntry``."""
        self._skipped.append(ReportedEntry(kind, location, image, raw))

    def skip_object(self, problem: InvalidEntryError, image: int, number: int, raw: str) -> None:
        """Record an annotated object that cannot become a row; ``image`` and ``number`` as in ``add_object``."""
        self.skip(problem.kind, self._location(image, number, str(problem)), image, raw)

    def note(self, kind: str, image: int = -1, number: int | None = None, value: str = "", file: str = "") -> None:
        """Record that an entry is read otherwise than it is written.

        kind: a key of ``detect.data.validation.problems.KINDS``, whose ``when_read`` says how it is read.
        image, number: of the object as in ``add_object``, of the image without ``number``.
        value: what is written, or an explanation.
        file: name of the file or class that the note is about, if it is about no image.
        """
        location = (
            Location(file or self.annotations.name, "", value) if image < 0 else self._location(image, number, value)
        )
        self._notes.append(ReportedEntry(kind, location, image))

    def _location(self, image: int, number: int | None, value: str) -> Location:
        file = self._sources[image] if self._sources else self._names[image]
        return Location(file, "" if number is None else f"{self.entry_word} {number}", value)

    def skip_file(self, kind: str, file: str, message: str, image: int = -1) -> None:
        """Record that a file in the folder ``annotations`` is not used.

        kind, image: see ``ReportedEntry``.
        file: path relative to ``annotations``.
        message: the reason in words.
        """
        self.skip(kind, Location(file, "", message), image, read_text_or_empty(self.annotations / file))

    @property
    def names(self) -> Sequence[str]:
        """File names of the images."""
        return self._names

    def finish(
        self, names: Sequence[str] | None = None, ids: Sequence[int] | None = None, *, classes_listed: bool = True
    ) -> UnvalidatedSplit:
        """Return the split.

        names, ids: class names in label order and their category ids, by default 1..K. Without ``names`` the classes
            are those that ``label`` was called with.
        classes_listed: see ``UnvalidatedSplit``; False without ``names``.
        """
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
            object_starts=object_starts(images, len(self._names)),
            boxes=np.frombuffer(self._boxes, np.float64).reshape(-1, 4)[order],
            labels=by_image(self._labels, np.int64),
            areas=by_image(self._areas, np.float64),
            iscrowd=by_image(self._iscrowd, np.bool_),
            annotation_ids=by_image(self._annotation_ids, np.int64),
            numbers=by_image(self._numbers, np.int64),
            mask_rows=order,
            masks=self._masks.finish(),
            unpacked=self.unpacked,
        )
        classes_listed = classes_listed and names is not None
        names = tuple(self._label_of if names is None else names)
        return UnvalidatedSplit(
            self.annotations,
            table,
            names,
            tuple(ids or range(1, len(names) + 1)),
            classes_listed,
            self.entry_word,
            tuple(self._skipped),
            tuple(self._notes),
            self._has_real_masks,
        )
