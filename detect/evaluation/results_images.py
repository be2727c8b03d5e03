"""The image of a split that each row of a file of detections belongs to.

COCO's results name an image by its id in the annotations. Programs for YOLO have no such ids and write the stem of
the file name, as a number if it is one: 123 for ``000123.jpg``. Some also write the file name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from detect.data.file_listing import without_suffix
from detect.data.image_names import match_names
from detect.data.readers.coco_ids import Id
from detect.data.spec import DatasetSpec
from detect.data.table import Table
from detect.errors import DataError, DetectError
from detect.evaluation.results_rows import Results
from detect.progress import warn
from detect.text import counted, first_few, one_line

_Key = tuple[Id | None, str | None]
"""``image_id`` and ``file_name`` of a row."""


@dataclass(frozen=True)
class _Images:
    """Images of a split: names relative to the folder of the images, and ids."""

    names: Sequence[str]
    ids: Sequence[int]

    @classmethod
    def of(cls, table: Table) -> _Images:
        return cls(list(table.names), table.image_ids.tolist())

    def by_id(self, keys: Sequence[_Key]) -> list[int]:
        """Return the index of the image with the ``image_id`` of each key, -1 if there is none."""
        index_of: dict[Id | None, int] = {image_id: index for index, image_id in enumerate(self.ids)}
        return [index_of.get(image_id, -1) for image_id, _ in keys]

    def by_name(self, keys: Sequence[_Key]) -> list[int]:
        """Return the index of the image with the file name, or the stem, of each key; -1 if there is none."""
        index_of = {name: index for index, name in enumerate(self.names)}
        written = [name or (image_id if isinstance(image_id, str) else "") for image_id, name in keys]
        missing = {name for name in written if name and name not in index_of}
        used = set(written) - missing
        found = match_names(missing, [name for name in self.names if name not in used], used) if missing else {}
        numbers = self._numeric_stems()
        return [
            index_of.get(found.get(name, name), -1) if name else numbers.get(image_id, -1)  # type: ignore[arg-type]
            for name, (image_id, _) in zip(written, keys, strict=True)
        ]

    def shown(self) -> str:
        """Return some images for a message: ``139 (000000000139.jpg), 285 (000000000285.jpg) and 98 more``."""
        return first_few([f"{i} ({name})" for i, name in zip(self.ids, self.names, strict=True)], 2)

    def _numeric_stems(self) -> dict[Id | None, int]:
        """Return {number: index of the image} for file names that are a number, where no two are the same number."""
        stems = [PurePosixPath(without_suffix(name)).name for name in self.names]
        numbers = [int(stem) if stem.isdecimal() and len(stem) < 19 else None for stem in stems]
        counts = Counter(numbers)
        return {n: index for index, n in enumerate(numbers) if n is not None and counts[n] == 1}


def image_of_each_row(results: Results, spec: DatasetSpec, split: str, records: Table) -> np.ndarray:
    """Return the index in ``records`` of the image of each row, int64 [N]; -1 for an image of the split that was left
    out because it is invalid.

    Rows are matched by file name where they have one. Otherwise ``image_id`` is the id of an image in COCO's
    annotations. If some ids are unknown there, or the annotations have another format, it is the stem of a file name.
    Raises DataError, with some of them, if the split does not have all images.
    """
    rows = results.rows
    number_of = {key: number for number, key in enumerate(dict.fromkeys((r.image_id, r.file_name) for r in rows))}
    keys: list[_Key] = list(number_of)  # type: ignore[arg-type]
    images = _all_images(spec, split, records)
    index_of = np.array(_match(results, keys, images, spec, split), np.int64)
    index_of[index_of >= len(records)] = -1
    return index_of[[number_of[row.image_id, row.file_name] for row in rows]]


def _all_images(spec: DatasetSpec, split: str, records: Table) -> _Images:
    """Return the images of ``records``, followed by those of the split that were left out."""
    kept, annotated = _Images.of(records), _Images.of(spec.select(split)[1].table)
    known = set(kept.ids)
    removed = [(n, i) for n, i in zip(annotated.names, annotated.ids, strict=True) if i not in known]
    return _Images([*kept.names, *(name for name, _ in removed)], [*kept.ids, *(i for _, i in removed)])


def _match(results: Results, keys: list[_Key], images: _Images, spec: DatasetSpec, split: str) -> list[int]:
    """Return the index of the image of each key. Raises DataError if one is unknown."""
    found = [images.by_id(keys), images.by_name(keys)]
    words = ["image ids", "file names"]
    are_named = any(name for _, name in keys)
    if spec.format != "coco" or are_named:
        found, words = found[::-1], words[::-1]
    first, other = found
    if min(first) >= 0:
        if min(other) >= 0 and first != other and not are_named:
            warn(f"{results.path}: its image ids fit the {words[0]} and the {words[1]}; they are read as {words[0]}")
        return first
    if min(other) >= 0:
        return other
    best = max(found, key=lambda indices: sum(index >= 0 for index in indices))
    unknown = [key for key, index in zip(keys, best, strict=True) if index < 0]
    elsewhere = _split_with(unknown, spec, split)
    part = "none" if len(unknown) == len(keys) else f"all but {len(unknown)}"
    shown = first_few([one_line(name or repr(image_id)) for image_id, name in unknown], 3)
    raise DataError(
        f"{results.path}: {part} of its {counted(len(keys), 'image')} are in split '{split}' of dataset "
        f"'{spec.name}', which lacks {shown}; "
        + (f"these are in its split '{elsewhere}'" if elsewhere else f"the split has {images.shown()}")
    )


def _split_with(keys: list[_Key], spec: DatasetSpec, split: str) -> str:
    """Return another split that has all images, "" if there is none."""
    for other in spec.splits:
        try:
            images = _Images.of(spec.select(other)[1].table)
        except DetectError:  # a split that cannot be read does not matter here
            continue
        if other != split and any(min(indices) >= 0 for indices in (images.by_id(keys), images.by_name(keys))):
            return other
    return ""
