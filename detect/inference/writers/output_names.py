"""Names and numbers of images in the output of a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import PurePath

from detect.data.exporters.export_rows import printable
from detect.data.exporters.file_names import unused_name
from detect.data.exporters.yolo import adapt_name
from detect.io.files import fit_file_name

_ENDING = "_000000_000000.jpeg"  # reserved for numbers and a suffix in a name of 255 bytes
_MAX_DIGITS = 18  # of a number that fits into 64 bits


class OutputStems:
    """Chooses for each image a file name without suffix that no other image has.

    It is that of the image, with _2, _3 ... where it is taken. Names that differ only in case count as equal, since
    many disks do not distinguish them. Unprintable characters become ``_``, dots at the beginning are removed, and
    very long names are cut.
    """

    def __init__(self, taken: Iterable[str] = ()) -> None:
        """taken: stems that earlier images have."""
        self._taken: dict[str, int] = {}
        for stem in taken:
            self._take(stem)

    def choose(self, name: str) -> str:
        """Return the stem for the image of this name or path."""
        stem = printable(PurePath(name).stem).lstrip(".") or "_"
        if len(stem) * 4 > 255 - len(_ENDING):  # a character has up to 4 bytes
            stem = fit_file_name(stem, _ENDING).removesuffix(_ENDING)
        return self._take(stem)

    def _take(self, stem: str) -> str:
        chosen = unused_name(f"{stem}.jpg", self._taken, True)
        if (adapted := adapt_name(chosen)) != chosen:  # YOLO does not read train.txt as the labels of train.jpg
            adapted = unused_name(adapted, self._taken, True)
            chosen = chosen if adapted == adapt_name(chosen) else adapted
        return chosen.removesuffix(".jpg")


def image_ids(names: Sequence[str]) -> list[int]:
    """Return a number for each image of a run, for formats that number images.

    If the names of all images are different numbers, as in COCO, it is this number: 139 for ``000000000139.jpg``.
    Otherwise the images are numbered from 1 in their order.
    """
    stems = [PurePath(name).stem for name in names]
    if all(stem.isdecimal() and stem.isascii() and len(stem) <= _MAX_DIGITS for stem in stems):
        numbers = [int(stem) for stem in stems]
        if len(set(numbers)) == len(numbers):
            return numbers
    return list(range(1, len(names) + 1))
