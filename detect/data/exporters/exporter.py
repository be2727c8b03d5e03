"""The interface of an exporter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from detect.data.table import Table
from detect.structures.class_names import ClassNames

Parts = Mapping[str, Table]  # {split: its images and annotations}
Names = Mapping[str, Sequence[str]]  # {split: file name of each image in the new dataset}


@dataclass(frozen=True)
class ExportLoss:
    """Information that a format cannot hold. Image ids and annotation ids do not count as information.

    Attributes:
        what: a plural noun, such as "masks".
        count: number of cases in all splits.
    """

    what: str
    count: int


@dataclass(frozen=True)
class Exporter:
    """How a dataset is written in one annotation format. Image files are copied by ``detect.data.convert``.

    Attributes:
        write: function (folder, parts, class_names, names) that writes the annotation files into ``folder`` and
            returns the information that the format cannot hold. Tables are as ``DatasetSpec.read`` returns them:
            every object has a box and an area. ``names[split][i]`` is the name of image i of a split, relative to
            ``image_folder(split)``.
        image_folder: function that returns the folder of a split's images, relative to the dataset's folder.
        unique_stems: bool, whether image names must differ without their suffix, because each image has an annotation
            file of the same name.
        adapt_name: function that changes an image name, a relative path, where readers of the format need it.
    """

    write: Callable[[Path, Parts, ClassNames, Names], list[ExportLoss]]
    image_folder: Callable[[str], str]
    unique_stems: bool = False
    adapt_name: Callable[[str], str] = str
