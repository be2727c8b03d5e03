"""Formats to write datasets in. A new one is a file here with ``write`` and ``images`` and one line in the table.

``write(folder, parts, class_names, names)`` writes the annotations of a dataset into the new ``folder`` and returns
what the format cannot hold; ``parts`` gives the Table of each split, and names[split][i] is the name of its i-th
image in ``images(split)``, the folder of a split's images in ``folder``. Images themselves are copied by
``convert``. Tables are such as ``DatasetSpec.read`` returns: with a box and an area for each object.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from detect.data.exporters import coco, via, voc, yolo
from detect.data.exporters.annotated_images import ExportLoss, Names, Parts
from detect.structures.class_names import ClassNames


class Exporter(NamedTuple):
    """by_stem: whether names have to differ without their suffix, since annotations are files of the same name.
    fitting: makes a relative name one that the format's readers find.  write, images: see above."""

    write: Callable[[Path, Parts, ClassNames, Names], list[ExportLoss]]
    images: Callable[[str], str]
    by_stem: bool = False
    fitting: Callable[[str], str] = str


EXPORTERS = {
    "coco": Exporter(coco.write, coco.images),
    "voc": Exporter(voc.write, voc.images, by_stem=True),
    "yolo": Exporter(yolo.write, yolo.images, by_stem=True, fitting=yolo.fitting),
    "via": Exporter(via.write, via.images),
}
